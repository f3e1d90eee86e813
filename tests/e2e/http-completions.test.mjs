// http.md 5: prompts without a template, whole and streamed, with the prompt echoed and its tokens' probabilities.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startDaemon } from './lib/daemon.mjs';
import { MODEL, client, ggufMetadata, openaiError, post, readStream } from './lib/http.mjs';

const body = (more) => ({ model: MODEL, prompt: 'Once upon a time', temperature: 0, max_tokens: 12, ...more });

describe('completions of the demo model', () => {
    let d, vocabulary;
    const send = (more, init) => post(d, '/v1/completions', body(more), init);
    const complete = (more) => client(d).completions.create(body(more));
    const texts = (chunks, index = 0) => chunks.filter((c) => c.choices[0]?.index === index).map((c) => c.choices[0].text).join('');
    const streamed = async (more) => readStream(await send({ ...more, stream: true, stream_options: { include_usage: true } }));
    before(async () => {
        d = await startDaemon();
        vocabulary = ggufMetadata()['tokenizer.ggml.tokens'];
    });
    after(() => d?.stop());

    test('the answer has every member that the client\'s types demand', async () => {
        const answer = await complete();
        assert.match(answer.id, /^cmpl-[a-z0-9]{22}$/);
        assert.deepEqual([answer.object, answer.model, answer.system_fingerprint, answer.stats], ['text_completion', MODEL, MODEL, {}]);
        assert.deepEqual(Object.keys(answer.choices[0]), ['index', 'text', 'logprobs', 'finish_reason']);
        assert.deepEqual([answer.choices[0].logprobs, answer.choices[0].finish_reason], [null, 'length']);
        assert.equal(answer.usage.completion_tokens, 12);
        assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + 12);
        assert.equal((await post(d, '/completions', body())).status, 200, 'also without /v1');
    });

    test('http-116 all four prompt forms work; two prompts give indices 0 and 1', async () => {
        // Tokens of "Once" and " upon" are not known here, but what the answer says they are is: logprobs name a prompt's tokens.
        const { choices: [echo] } = await complete({ echo: true, logprobs: 0, max_tokens: 0 });
        const byText = new Map(vocabulary.map((token, id) => [token.replaceAll('\u0120', ' '), id]));
        const ids = echo.logprobs.tokens.map((token) => byText.get(token));
        assert.ok(ids.every(Number.isInteger), JSON.stringify(echo.logprobs.tokens));
        const text = (await complete()).choices[0].text, other = (await complete({ prompt: 'The fox' })).choices[0].text;
        assert.notEqual(text, other);
        assert.equal((await complete({ prompt: ids })).choices[0].text, text);
        assert.equal((await complete({ prompt: [ids] })).choices[0].text, text);
        for (const prompt of [['Once upon a time', 'The fox'], ['The fox', 'Once upon a time', 'The fox']]) {
            const { choices, usage } = await complete({ prompt });
            assert.deepEqual(choices.map((c) => c.index), prompt.map((_, i) => i));
            assert.deepEqual(choices.map((c) => c.text), prompt.map((p) => (p === 'The fox' ? other : text)));
            assert.ok(usage.completion_tokens > prompt.length && usage.completion_tokens <= 12 * prompt.length);
        }
        const { choices } = await complete({ prompt: [ids, ids.slice(0, 2)], n: 2 });
        assert.deepEqual(choices.map((c) => c.index), [0, 1, 2, 3]);
        assert.equal(choices[0].text, text);
        for (const prompt of [null, '']) {
            const answer = await send({ prompt });
            assert.equal(answer.status, 200, await answer.text());
        }
    });

    test('http-117 no template is applied', async () => {
        assert.ok([1, 2].includes((await complete({ prompt: 'a' })).usage.prompt_tokens));
        assert.equal((await complete({ prompt: '<|im_start|>' })).usage.prompt_tokens, 1, 'special tokens are read in text');
    });

    test('http-118 echo with logprobs 1 and max_tokens 0 returns the prompt\'s logprobs, the first null', async () => {
        const { choices: [choice], usage } = await complete({ echo: true, logprobs: 1, max_tokens: 0 });
        assert.equal(choice.text, 'Once upon a time');
        assert.equal(choice.finish_reason, 'length');
        const { tokens, token_logprobs, top_logprobs, text_offset } = choice.logprobs;
        assert.equal(usage.completion_tokens, 0);
        assert.equal(usage.prompt_tokens, tokens.length);
        assert.equal(tokens.join(''), choice.text);
        assert.deepEqual([token_logprobs[0], top_logprobs[0], text_offset[0]], [null, null, 0]);
        let offset = 0;
        tokens.forEach((token, i) => {
            assert.equal(text_offset[i], offset);
            offset += [...token].length;
            if (i === 0) return;
            assert.ok(token_logprobs[i] <= 0);
            const [[best, value]] = Object.entries(top_logprobs[i]);
            assert.ok(value >= token_logprobs[i]);
            if (best === token) assert.equal(value, token_logprobs[i]);
        });
    });

    test('what a prompt is scored with is what its tokens had when they were generated', async () => {
        const { choices: [made] } = await complete({ logprobs: 2, max_tokens: 8 });
        const { choices: [scored] } = await complete({ prompt: `Once upon a time${made.text}`, echo: true, logprobs: 2, max_tokens: 1 });
        const at = scored.logprobs.tokens.length - 1 - 8;
        assert.deepEqual(scored.logprobs.tokens.slice(at, -1), made.logprobs.tokens);
        made.logprobs.token_logprobs.forEach((value, i) => assert.ok(Math.abs(value - scored.logprobs.token_logprobs[at + i]) < 0.02));
        assert.ok(scored.text.startsWith(`Once upon a time${made.text}`));
        assert.equal(scored.logprobs.tokens.join(''), scored.text);
    });

    test('echo puts the prompt first, text or tokens, whole and streamed', async () => {
        const plain = (await complete()).choices[0].text;
        for (const more of [{ echo: true }, { echo: true, logprobs: 0 }, { echo: true, logprobs: 3, n: 2 }]) {
            const { choices } = await complete(more);
            for (const choice of choices) assert.equal(choice.text, `Once upon a time${plain}`);
            const { chunks } = await streamed(more);
            choices.forEach((choice, i) => {
                assert.equal(texts(chunks, i), choice.text);
                const entries = chunks.filter((c) => c.choices[0]?.index === i).flatMap((c) => c.choices[0].logprobs ?? []);
                for (const key of ['tokens', 'text_offset'])
                    assert.deepEqual(entries.flatMap((entry) => entry[key]), choice.logprobs?.[key] ?? []);
            });
        }
        const { choices: [choice] } = await complete({ prompt: [10, 11, 12], echo: true, max_tokens: 0 });
        assert.ok(choice.text.length > 0);
    });

    test('http-119 suffix on a model without fill-in-the-middle is 400', async () => {
        const error = await openaiError(await send({ suffix: ' end.' }));
        assert.deepEqual([error.status, error.code, error.param], [400, 'unsupported_content', 'suffix']);
        assert.equal((await send({ suffix: '' })).status, 200);
    });

    test('http-120 stream: pieces concatenate to the text; http-100 include_usage works here too', async () => {
        const whole = await complete({ max_tokens: 40 });
        const { chunks, usage, done } = await streamed({ max_tokens: 40 });
        assert.equal(texts(chunks), whole.choices[0].text);
        assert.ok(done);
        assert.deepEqual(chunks.at(-1).choices, []);
        assert.deepEqual([chunks.at(-2).choices[0].text, chunks.at(-2).choices[0].finish_reason], ['', whole.choices[0].finish_reason]);
        assert.equal(chunks.filter((c) => c.choices[0]?.finish_reason).length, 1);
        assert.ok(chunks.every((c) => c.object === 'text_completion' && c.id === chunks[0].id));
        assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
        let text = '';
        for await (const chunk of await client(d).completions.create({ ...body({ max_tokens: 40 }), stream: true })) {
            assert.ok(!('usage' in chunk));
            text += chunk.choices[0].text;
        }
        assert.equal(text, whole.choices[0].text);
    });

    test('two prompts stream side by side', async () => {
        const whole = await complete({ prompt: ['Once upon a time', 'The fox'] });
        const { chunks, usage } = await streamed({ prompt: ['Once upon a time', 'The fox'] });
        for (const i of [0, 1]) assert.equal(texts(chunks, i), whole.choices[i].text);
        assert.equal(usage.prompt_tokens, whole.usage.prompt_tokens);
    });

    test('logprobs are those of the text, streamed or not', async () => {
        const { choices: [choice], usage } = await complete({ logprobs: 3, temperature: 1, seed: 4 });
        const { tokens, token_logprobs, top_logprobs } = choice.logprobs;
        assert.equal(tokens.join(''), choice.text);
        assert.equal(token_logprobs.length, usage.completion_tokens);
        for (const top of top_logprobs) assert.equal(Object.keys(top).length, 3);
        const { chunks } = await streamed({ logprobs: 3, temperature: 1, seed: 4 });
        assert.deepEqual(chunks.flatMap((c) => c.choices[0]?.logprobs?.tokens ?? []), tokens);
    });

    test('best_of gives the likeliest, and only n of them', async () => {
        const warm = { temperature: 1, top_k: 0, top_p: 1, min_p: 0, seed: 3, max_tokens: 8 };
        const mean = ({ logprobs }) => logprobs.token_logprobs.reduce((a, b) => a + b, 0) / logprobs.token_logprobs.length;
        const all = (await complete({ ...warm, n: 6, logprobs: 0 })).choices.sort((a, b) => mean(b) - mean(a));
        const { choices, usage } = await complete({ ...warm, n: 2, best_of: 6 });
        assert.deepEqual(choices.map((c) => c.text), all.slice(0, 2).map((c) => c.text));
        assert.deepEqual(choices.map((c) => [c.index, c.logprobs]), [[0, null], [1, null]]);
        assert.equal(usage.completion_tokens, 6 * 8);
    });

    test('stop strings end the text, not the echoed prompt', async () => {
        const { choices: [{ text }] } = await complete({ max_tokens: 30 });
        const stop = text.slice(10, 14), expected = text.slice(0, text.indexOf(stop));
        const { choices: [cut] } = await complete({ max_tokens: 30, stop });
        assert.deepEqual([cut.text, cut.finish_reason], [expected, 'stop']);
        const { choices: [echo] } = await complete({ max_tokens: 8, stop: 'upon', echo: true });
        assert.ok(echo.text.startsWith('Once upon a time'));
    });

    test('max_tokens 0 generates nothing', async () => {
        for (const more of [{}, { echo: true }, { logprobs: 2 }]) {
            const { choices: [choice], usage } = await complete({ max_tokens: 0, ...more });
            assert.deepEqual([choice.text, choice.finish_reason, usage.completion_tokens], [more.echo ? 'Once upon a time' : '', 'length', 0]);
            assert.ok(usage.prompt_tokens > 0);
        }
    });

    test('response_format holds here too', async () => {
        const schema = { type: 'object', properties: { n: { type: 'integer', minimum: 3, maximum: 5 } }, required: ['n'], additionalProperties: false };
        const { choices: [{ text }] } = await complete({ max_tokens: 60, response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } });
        assert.ok([3, 4, 5].includes(JSON.parse(text).n), text);
    });

    test('what is wrong is 400 and names its field', async () => {
        const wrong = [
            ['prompt', 'missing_required_parameter', { prompt: undefined }], ['prompt', 'invalid_type', { prompt: 5 }],
            ['prompt', 'invalid_type', { prompt: ['a', 1] }], ['prompt', 'invalid_type', { prompt: [1, 'a'] }],
            ['prompt', 'invalid_type', { prompt: [[1], ['a']] }], ['prompt', 'invalid_type', { prompt: [[]] }],
            ['prompt', 'invalid_value', { prompt: [] }], ['prompt', 'invalid_type', { prompt: [-1] }], ['prompt', 'invalid_type', { prompt: [1.5] }],
            ['prompt', 'invalid_value', { prompt: [1, vocabulary.length] }], ['prompt', 'invalid_value', { prompt: Array(200).fill('a'), n: 2 }],
            ['best_of', 'invalid_value', { best_of: 1, n: 2 }], ['best_of', 'invalid_value', { best_of: 3, stream: true }],
            ['logprobs', 'invalid_type', { logprobs: true }], ['logprobs', 'invalid_value', { logprobs: 21 }],
            ['max_tokens', 'invalid_value', { max_tokens: -2 }], ['n', 'invalid_value', { n: 17 }], ['echo', 'invalid_type', { echo: 'yes' }],
            ['preset', 'not_implemented', { preset: 'x' }], ['temperature', 'invalid_value', { temperature: 3 }],
            ['prompt', 'context_length_exceeded', { prompt: 'word '.repeat(4000) }],
        ];
        for (const [param, code, more] of wrong) {
            const error = await openaiError(await send(more));
            assert.deepEqual([error.param, error.code], [param, code], `${JSON.stringify(more).slice(0, 80)} ${error.message}`);
        }
    });
});
