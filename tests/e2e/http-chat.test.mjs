// http.md 3 and 4: chat completions of the demo model, whole and streamed, through the official client and by hand.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { startDaemon } from './lib/daemon.mjs';
import { MODEL, ask, chat, chatText, client, ggufMetadata, openaiError, readStream, user } from './lib/http.mjs';

const story = user('Tell me a story about a fox.');
const text = async (d, more) => (await chatText(d, ask(more))).choices[0].message.content;

describe('chat completions of the demo model', () => {
    let d, vocabulary, endToken;
    before(async () => {
        d = await startDaemon();
        const metadata = ggufMetadata();
        vocabulary = metadata['tokenizer.ggml.tokens'];
        endToken = metadata['tokenizer.ggml.eos_token_id'];
    });
    after(() => d?.stop());

    test('http-047 the response parses in openai-node and has every member that its types demand', async () => {
        const { data: body, response } = await client(d).chat.completions.create(ask()).withResponse();
        assert.equal(response.headers.get('content-type'), 'application/json; charset=utf-8');
        assert.match(body.id, /^chatcmpl-[a-z0-9]{22}$/);
        assert.equal(body.object, 'chat.completion');
        assert.ok(Math.abs(body.created - Date.now() / 1000) < 600);
        assert.equal(body.model, MODEL);
        assert.equal(body.system_fingerprint, MODEL);
        assert.deepEqual(body.stats, {});
        assert.equal(body.choices.length, 1);
        const [choice] = body.choices;
        assert.deepEqual(Object.keys(choice), ['index', 'message', 'logprobs', 'finish_reason']);
        assert.equal(choice.index, 0);
        assert.equal(choice.logprobs, null);
        assert.match(choice.finish_reason, /^(stop|length)$/);
        assert.equal(choice.message.role, 'assistant');
        assert.equal(choice.message.refusal, null);
        assert.equal(typeof choice.message.content, 'string');
        assert.ok(choice.message.content.length > 0);
        const { usage } = body;
        assert.ok(usage.prompt_tokens > 0 && usage.completion_tokens > 0);
        assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
        assert.ok(usage.prompt_tokens_details.cached_tokens >= 0);
        assert.equal(usage.completion_tokens_details.reasoning_tokens, 0);
    });

    test('the official client streams and does not stream, with equal text and usage', async () => {
        const openai = client(d);
        const ask_ = ask({ messages: story, max_tokens: 48, seed: 7 });
        const whole = await openai.chat.completions.create(ask_);
        const stream = await openai.chat.completions.create({ ...ask_, stream: true, stream_options: { include_usage: true } });
        let content = '', usage;
        for await (const chunk of stream) {
            content += chunk.choices[0]?.delta.content ?? '';
            usage = chunk.usage ?? usage;
        }
        assert.equal(content, whole.choices[0].message.content);
        assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
        assert.equal(usage.prompt_tokens, whole.usage.prompt_tokens);
        assert.equal(usage.total_tokens, whole.usage.total_tokens);
        const final = await openai.chat.completions.stream(ask_).finalChatCompletion();
        assert.equal(final.choices[0].message.content, content);
    });

    test('http-048 limits: 1 is length, -1 is none, max_completion_tokens wins', async () => {
        const one = await chatText(d, ask({ max_tokens: 1 }));
        assert.equal(one.choices[0].finish_reason, 'length');
        assert.equal(one.usage.completion_tokens, 1);
        const none = await chatText(d, ask({ max_tokens: -1 }));
        assert.equal(none.choices[0].finish_reason, 'stop');
        assert.ok(none.usage.completion_tokens > 1);
        const both = await chatText(d, ask({ max_tokens: 50, max_completion_tokens: 2 }));
        assert.equal(both.usage.completion_tokens, 2);
        assert.equal(both.choices[0].finish_reason, 'length');
    });

    test('http-049 a stop string split over tokens is found, and nothing of it is streamed', async () => {
        const whole = await text(d, { messages: story, max_tokens: 60 });
        assert.ok(whole.length > 40, whole);
        for (const [from, length] of [[20, 7], [25, 12], [30, 3], [whole.length - 9, 9]]) {
            const stop = whole.slice(from, from + length), expected = whole.slice(0, whole.indexOf(stop));
            const body = ask({ messages: story, max_tokens: 60, stop: ['never there', stop] });
            const plain = await chatText(d, body);
            assert.equal(plain.choices[0].message.content, expected, JSON.stringify(stop));
            assert.equal(plain.choices[0].finish_reason, 'stop');
            const stream = await readStream(await chat(d, { ...body, stream: true }));
            assert.equal(stream.content, expected, JSON.stringify(stop));
            assert.equal(stream.finish, 'stop');
        }
    });

    test('a beginning of a stop string that goes on otherwise is released', async () => {
        const whole = await text(d, { messages: story, max_tokens: 40 });
        assert.equal(await text(d, { messages: story, max_tokens: 40, stop: whole.slice(10, 16) + '\u0001' }), whole);
    });

    test('http-051 the same seed gives the same text, no seed gives different ones', async () => {
        const warm = { messages: story, temperature: 1, top_k: 0, top_p: 1, min_p: 0, max_tokens: 32 };
        assert.equal(await text(d, { ...warm, seed: 7 }), await text(d, { ...warm, seed: 7 }));
        const free = new Set();
        for (let i = 0; i < 10; i++) free.add(await text(d, warm));
        assert.ok(free.size > 1);
        const seeds = new Set();
        for (let seed = 1; seed <= 10; seed++) seeds.add(await text(d, { ...warm, seed }));
        assert.ok(seeds.size > 1);
    });

    test('http-052 temperature 0 twice: the same text; top_p 0 is that too', async () => {
        const first = await text(d, { messages: story, max_tokens: 32 });
        assert.equal(await text(d, { messages: story, max_tokens: 32, seed: 9 }), first);
        assert.equal(await text(d, { messages: story, max_tokens: 32, temperature: 1, top_p: 0 }), first);
    });

    test('http-053 logit_bias: -100 keeps a token out, 100 forces it, abc is no token', async () => {
        const whole = await text(d, { messages: story, max_tokens: 24 });
        const id = vocabulary.findIndex((token) => /^\u0120?[a-z]{2,}$/i.test(token) && whole.includes(token.replace('\u0120', ' ')));
        assert.ok(id > 0, whole);
        const word = vocabulary[id].replace('\u0120', ' ');
        const forced = await text(d, { messages: story, max_tokens: 4, logit_bias: { [id]: 100 } });
        assert.equal(forced.trim(), word.repeat(4).trim());
        for (let seed = 0; seed < 3; seed++) {
            const { choices } = await chatText(d, ask({ messages: story, max_tokens: 24, temperature: 1, seed, logprobs: true, logit_bias: { [id]: -100 } }));
            assert.ok(!choices[0].logprobs.content.some(({ token }) => token === word));
        }
        for (const key of ['abc', '-1', '1.5', String(vocabulary.length), '4000000000']) {
            const error = await openaiError(await chat(d, ask({ logit_bias: { [key]: 1 } })));
            assert.equal(error.status, 400, key);
            assert.equal(error.code, 'invalid_value', key);
            assert.equal(error.param, 'logit_bias', key);
        }
    });

    test('http-054 values out of range are 400 with the field in param', async () => {
        for (const [field, value] of [['temperature', -1], ['top_p', 2], ['n', 0], ['n', 99], ['min_p', 7], ['max_tokens', 0], ['stop', ''], ['ttl', 0]]) {
            const error = await openaiError(await chat(d, ask({ [field]: value })));
            assert.equal(error.status, 400, field);
            assert.equal(error.code, 'invalid_value');
            assert.equal(error.param, field);
        }
        await assert.rejects(client(d).chat.completions.create(ask({ temperature: -1 })), (error) => {
            assert.ok(error instanceof OpenAI.BadRequestError);
            assert.equal(error.param, 'temperature');
            return true;
        });
    });

    test('every field of the wrong type is 400 invalid_type naming it', async () => {
        const wrong = {
            model: 1, messages: 'x', stream: 'true', stream_options: [], temperature: '1', top_p: true, top_k: 1.5, min_p: [], repeat_penalty: {},
            presence_penalty: '0', frequency_penalty: '0', logit_bias: [], seed: 'x', max_tokens: '5', max_completion_tokens: [], stop: 5, n: '1',
            logprobs: 1, response_format: 'text', tools: {}, tool_choice: 5, parallel_tool_calls: 'no', grammar: 5, reasoning_effort: 1,
            reasoning: 'low', context_overflow_policy: 1, ttl: '60', continue_final_message: 1, chat_template_kwargs: 'x', draft_model: 1,
        };
        for (const [field, value] of Object.entries(wrong)) {
            const error = await openaiError(await chat(d, ask({ [field]: value })));
            assert.deepEqual([error.status, error.code, error.param], [400, 'invalid_type', field], `${field}: ${error.message}`);
        }
    });

    test('the largest numbers that fit are taken', async () => {
        const most = '9223372036854775807';
        for (const field of ['ttl', 'seed', 'max_tokens', 'max_completion_tokens', 'top_k']) {
            const body = JSON.stringify(ask({ [field]: 77777 })).replace('77777', most);
            const answer = await chat(d, body);
            assert.equal(answer.status, 200, `${field}: ${await answer.text()}`);
        }
        const tiny = await chat(d, ask({ temperature: 1e-300, top_p: 1e-300, min_p: 1, repeat_penalty: 1e-300, max_tokens: 2 }));
        assert.ok([200, 400].includes(tiny.status), await tiny.text());
        const huge = await chat(d, ask({ repeat_penalty: 1e300, presence_penalty: 2, frequency_penalty: -2, max_tokens: 2 }));
        assert.ok([200, 400].includes(huge.status), await huge.text());
    });

    test('http-076 http-077 a thought has its own field, whole and streamed', async () => {
        const body = ask({ messages: user('What is 12 + 30? /think'), max_tokens: 200 });
        const { choices: [{ message }], usage } = await chatText(d, body);
        assert.ok(message.reasoning_content?.length > 0, JSON.stringify(message));
        assert.ok(!/<\/?think>/.test(message.content + message.reasoning_content));
        assert.ok(usage.completion_tokens_details.reasoning_tokens > 0);
        assert.ok(usage.completion_tokens_details.reasoning_tokens <= usage.completion_tokens);
        const { chunks, content } = await readStream(await chat(d, { ...body, stream: true }));
        const deltas = chunks.map((c) => c.choices[0].delta).slice(1);
        assert.equal(deltas.map((x) => x.reasoning_content ?? '').join(''), message.reasoning_content);
        assert.equal(content, message.content);
        assert.ok(deltas.every((x) => Object.keys(x).length <= 1));
        const first = deltas.findIndex((x) => x.content);
        assert.ok(deltas.slice(first).every((x) => !x.reasoning_content), 'all of the thought comes first');
    });

    test('http-055 n: 3 gives indices 0 to 2; in a stream each has one role and one end', async () => {
        const warm = { messages: story, temperature: 1, seed: 5, max_tokens: 12 };
        const body = await chatText(d, ask({ ...warm, n: 3 }));
        assert.deepEqual(body.choices.map((c) => c.index), [0, 1, 2]);
        const stream = await readStream(await chat(d, ask({ ...warm, n: 3, stream: true, stream_options: { include_usage: true } })));
        for (const index of [0, 1, 2]) {
            const of = stream.chunks.filter((c) => c.choices[0]?.index === index).map((c) => c.choices[0]);
            assert.equal(of.filter((c) => c.delta.role).length, 1);
            assert.equal(of[0].delta.role, 'assistant');
            assert.equal(of.filter((c) => c.finish_reason).length, 1);
        }
        assert.equal(stream.usage.prompt_tokens, body.usage.prompt_tokens);
    });

    test('http-056 logprobs: bytes make up the content, candidates are sorted', async () => {
        const body = ask({ messages: story, temperature: 1, seed: 3, max_tokens: 20, logprobs: true, top_logprobs: 3 });
        const { choices: [choice] } = await chatText(d, body);
        const bytes = Buffer.from(choice.logprobs.content.flatMap((entry) => entry.bytes));
        assert.equal(bytes.toString(), choice.message.content);
        for (const { top_logprobs: top, logprob } of choice.logprobs.content) {
            assert.ok(logprob <= 0);
            assert.equal(top.length, 3);
            assert.ok(top[0].logprob >= top[1].logprob && top[1].logprob >= top[2].logprob);
        }
        const stream = await readStream(await chat(d, { ...body, stream: true }));
        const entries = stream.chunks.flatMap((c) => c.choices[0].logprobs?.content ?? []);
        assert.equal(Buffer.from(entries.flatMap((entry) => entry.bytes)).toString(), stream.content);
    });

    test('http-057 top_logprobs without logprobs is 400', async () => {
        assert.equal((await openaiError(await chat(d, ask({ top_logprobs: 2 })))).param, 'top_logprobs');
    });

    test('http-058 role developer works, role ai is refused with the known sentence', async () => {
        assert.equal((await chat(d, ask({ messages: [{ role: 'developer', content: 'Be short.' }, ...user('Hello')] }))).status, 200);
        const error = await openaiError(await chat(d, ask({ messages: [{ role: 'ai', content: 'x' }] })));
        assert.equal(error.message,
            "'messages' array must only contain objects with a 'role' field that is in [user, assistant, system, tool]. Got 'ai'");
    });

    test('http-059 content as text parts equals the joined string', async () => {
        const parts = [{ type: 'text', text: 'Hel' }, { type: 'text', text: 'lo' }];
        const [a, b] = [await chatText(d, ask({ messages: user(parts) })), await chatText(d, ask())];
        assert.equal(a.choices[0].message.content, b.choices[0].message.content);
        assert.equal(a.usage.prompt_tokens, b.usage.prompt_tokens);
    });

    test('a last assistant message is continued, unless that is turned off', async () => {
        const whole = await text(d, { messages: story, max_tokens: 24 });
        const half = whole.slice(0, whole.indexOf(' ', 16));
        const messages = [...story, { role: 'assistant', content: half }];
        const rest = await text(d, { messages, max_tokens: 24 });
        assert.ok((half + rest).startsWith(whole.slice(0, half.length + 4)), `${whole} | ${half} | ${rest}`);
        const anew = await chatText(d, ask({ messages, max_tokens: 24, continue_final_message: false }));
        const continued = await chatText(d, ask({ messages, max_tokens: 24 }));
        assert.ok(anew.usage.prompt_tokens > continued.usage.prompt_tokens);
    });

    test('fields whose support is still to come are refused by name, not ignored', async () => {
        for (const [field, value] of [['preset', '@local:x'], ['draft_model', 'atelier-demo-draft']]) {
            const error = await openaiError(await chat(d, ask({ [field]: value })));
            assert.deepEqual([error.status, error.code, error.param], [501, 'not_implemented', field]);
        }
    });

    test('http-061 an image is refused by a text model, and by every model when it is none', async () => {
        const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
        const say = (url) => chat(d, ask({ messages: user([{ type: 'text', text: 'What is it?' }, { type: 'image_url', image_url: { url } }]) }));
        for (const url of [`data:image/png;base64,${png}`, `DATA:image/jpeg;BASE64,${png}`, png, png.replace(/.{20}/g, '$&\n')]) {
            const error = await openaiError(await say(url));
            assert.deepEqual([error.status, error.code, error.param], [400, 'unsupported_content', 'messages[0].content[1]'], url);
        }
        for (const url of ['http://127.0.0.1/x.png', 'https://example.org/x.png', 'data:image/png;base64,AAAA', `data:image/png,${png}`, `${png}!`,
            'data:image/png;base64,', '', png.slice(0, 9), 'R0lGODlhAQ=A', 'UklGRgAAAABXQVZF']) {
            const error = await openaiError(await say(url));
            assert.deepEqual([error.status, error.code, error.param], [400, 'invalid_value', 'messages[0].content[1].image_url.url'], url);
            assert.equal(error.message, "'url' field must be a base64 encoded image.");
        }
    });

    test('http-065 response_format text changes nothing', async () => {
        assert.equal(await text(d, { response_format: { type: 'text' } }), await text(d));
    });

    test('http-075 the same request again has the same prompt tokens, now cached', async () => {
        const body = ask({ messages: user('Tell me about Atelier and the port of the server, please.'), max_tokens: 4 });
        const first = await chatText(d, body), second = await chatText(d, body);
        assert.equal(second.usage.prompt_tokens, first.usage.prompt_tokens);
        assert.ok(second.usage.prompt_tokens_details.cached_tokens > 0);
        assert.ok(second.usage.prompt_tokens_details.cached_tokens < second.usage.prompt_tokens);
    });

    test('http-098 first chunk has the role, last the reason, then [DONE]; one id throughout; http-101 no usage unasked', async () => {
        const answer = await chat(d, ask({ stream: true }));
        assert.equal(answer.headers.get('content-type'), 'text/event-stream; charset=utf-8');
        assert.equal(answer.headers.get('cache-control'), 'no-cache');
        assert.equal(answer.headers.get('x-accel-buffering'), 'no');
        const { chunks, done, events } = await readStream(answer);
        assert.ok(done);
        assert.ok(events.every((e) => !e.event));
        assert.deepEqual(chunks[0].choices[0].delta, { role: 'assistant', content: '' });
        for (const chunk of chunks) {
            for (const member of ['id', 'created', 'model', 'system_fingerprint']) assert.equal(chunk[member], chunks[0][member]);
            assert.equal(chunk.object, 'chat.completion.chunk');
            assert.ok(!('usage' in chunk));
            assert.equal(chunk.choices[0].logprobs, null);
        }
        assert.match(chunks[0].id, /^chatcmpl-[a-z0-9]{22}$/);
        assert.deepEqual(chunks.at(-1).choices[0].delta, {});
        assert.match(chunks.at(-1).choices[0].finish_reason, /^(stop|length)$/);
        for (const chunk of chunks.slice(1, -1)) {
            assert.deepEqual(Object.keys(chunk.choices[0].delta), ['content']);
            assert.ok(chunk.choices[0].delta.content.length > 0);
            assert.equal(chunk.choices[0].finish_reason, null);
        }
    });

    test('http-099 include_usage: one extra chunk, equal to the usage of the whole answer', async () => {
        for (const max_tokens of [3, 64]) {
            const body = ask({ messages: story, seed: 11, temperature: 1, max_tokens });
            const whole = await chatText(d, body);
            const stream = await readStream(await chat(d, { ...body, stream: true, stream_options: { include_usage: true } }));
            const last = stream.chunks.at(-1);
            assert.deepEqual(last.choices, []);
            assert.equal(stream.chunks.filter((c) => c.usage).length, 1);
            assert.ok(stream.chunks.slice(0, -1).every((c) => c.usage === null));
            const { prompt_tokens_details: _, ...usage } = last.usage;
            const { prompt_tokens_details: __, ...expected } = whole.usage;
            assert.deepEqual(usage, expected);
            assert.equal(stream.content, whole.choices[0].message.content);
            assert.ok(stream.done);
        }
    });

    test('http-014 a character split over tokens arrives whole', async () => {
        const body = ask({ grammar: 'root ::= "a\\U0001F600b\u00e9"', max_tokens: 32 });
        const { content, chunks } = await readStream(await chat(d, { ...body, stream: true }));
        assert.equal(content, 'a\u{1F600}b\u00e9');
        assert.equal(chunks.filter((c) => c.choices[0].delta.content?.includes('\u{1F600}')).length, 1);
        assert.ok(!content.includes('\uFFFD'));
    });

    test('http-082 a tool is called, whole and streamed, under the caller\'s own name', async () => {
        const tools = [{ type: 'function', function: { name: 'get_weather', description: 'The weather at a place',
            parameters: { type: 'object', properties: { location: { type: 'string' } }, required: ['location'] } } }];
        const body = ask({ messages: user('What is the weather in Paris and Rome?'), tools, max_tokens: 128 });
        const { choices: [choice] } = await chatText(d, body);
        assert.equal(choice.finish_reason, 'tool_calls', JSON.stringify(choice));
        assert.ok(choice.message.tool_calls.length >= 1);
        for (const call of choice.message.tool_calls) {
            assert.equal(call.type, 'function');
            assert.equal(call.function.name, 'get_weather');
            assert.equal(typeof JSON.parse(call.function.arguments), 'object');
        }
        const { chunks } = await readStream(await chat(d, { ...body, stream: true }));
        const pieces = chunks.flatMap((c) => c.choices[0].delta.tool_calls ?? []);
        const calls = choice.message.tool_calls.map((_, index) => pieces.filter((p) => p.index === index));
        calls.forEach(([opener, ...rest], index) => {
            assert.deepEqual(Object.keys(opener), ['index', 'id', 'type', 'function']);
            assert.equal(opener.function.arguments, '');
            for (const piece of rest) assert.deepEqual([Object.keys(piece), Object.keys(piece.function)], [['index', 'function'], ['arguments']]);
            assert.equal(rest.map((p) => p.function.arguments).join(''), choice.message.tool_calls[index].function.arguments);
        });
        assert.equal(chunks.at(-1).choices[0].finish_reason, 'tool_calls');
        const final = await client(d).chat.completions.stream(body).finalChatCompletion();
        assert.equal(final.choices[0].message.tool_calls.length, calls.length);
    });

    test('eight at once finish, and are interleaved', async () => {
        const order = [];
        const openai = client(d);
        await Promise.all(Array.from({ length: 8 }, async (_, i) => {
            const stream = await openai.chat.completions.create(
                ask({ messages: user(`Tell me story ${i}.`), max_tokens: 40, stream: true, logit_bias: { [endToken]: -100 } }));
            let finish;
            for await (const chunk of stream) {
                order.push(i);
                finish = chunk.choices[0]?.finish_reason ?? finish;
            }
            assert.equal(finish, 'length');
        }));
        const changes = order.filter((who, at) => at > 0 && order[at - 1] !== who).length;
        assert.ok(changes > 8, `${changes} changes of the stream in ${order.length} chunks`);
    });
});

describe('a context of 256 tokens', () => {
    let d, endToken;
    before(async () => {
        endToken = ggufMetadata()['tokenizer.ggml.eos_token_id'];
        d = await startDaemon({ settings: { defaultContextLength: { type: 'custom', value: 256 } } });
    });
    after(() => d?.stop());

    test('http-062 a prompt longer than the context is 400, with stream too', async () => {
        const long = user('one two three four five '.repeat(200));
        for (const stream of [false, true]) {
            const error = await openaiError(await chat(d, ask({ messages: long, stream })));
            assert.equal(error.status, 400);
            assert.equal(error.code, 'context_length_exceeded');
            assert.match(error.message, /^The number of tokens to keep from the initial prompt .*\(n_keep: \d+ >= n_ctx: 256\)/);
        }
        await assert.rejects(client(d).chat.completions.create(ask({ messages: long, stream: true })), OpenAI.BadRequestError);
        assert.equal((await chat(d, ask())).status, 200);
    });

    test('http-063 generation that fills the context ends with length', async () => {
        const body = ask({ messages: story, max_tokens: -1, logit_bias: { [endToken]: -100 } });
        const whole = await chatText(d, body);
        assert.equal(whole.choices[0].finish_reason, 'length');
        assert.ok(whole.usage.total_tokens >= 255 && whole.usage.total_tokens <= 257, String(whole.usage.total_tokens));
        const stream = await readStream(await chat(d, { ...body, stream: true, stream_options: { include_usage: true } }));
        assert.equal(stream.finish, 'length');
        assert.equal(stream.usage.completion_tokens, whole.usage.completion_tokens);
    });
});

test('http-078 with separation off a thought stays in the content, between the model\'s marks', async () => {
    const d = await startDaemon({ settings: { developer: { separateReasoningContentInAPI: false } } });
    try {
        const body = ask({ messages: user('What is 12 + 30? /think'), max_tokens: 200 });
        const { choices: [{ message }] } = await chatText(d, body);
        assert.ok(!('reasoning_content' in message));
        assert.match(message.content, /^<think>[^<]+<\/think>/);
        const { content, chunks } = await readStream(await chat(d, { ...body, stream: true }));
        assert.equal(content, message.content);
        assert.ok(chunks.every((c) => !('reasoning_content' in c.choices[0].delta)));
    } finally {
        await d.stop();
    }
});
