// http.md 3.12 and 4.4: tools, and who decides whether they are called, with the demo model through the official client.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startDaemon } from './lib/daemon.mjs';
import { gguf } from './lib/gguf.mjs';
import { ask, chat, chatText, client, openaiError, readStream, user } from './lib/http.mjs';

const tool = (name, properties, more) => ({ type: 'function', function: { name, description: `Does ${name}`, parameters: { type: 'object', properties, required: Object.keys(properties) }, ...more } });
const weather = tool('get_weather', { location: { type: 'string' } });
const time = tool('get_time', { city: { type: 'string' } });
const mail = tool('send_mail', { to: { type: 'string' } });
const three = [weather, time, mail];
const paris = user('What is the weather in Paris and Rome?');
const named = (name) => ({ type: 'function', function: { name } });
const allowed = (mode, ...names) => ({ type: 'allowed_tools', allowed_tools: { mode, tools: names.map(named) } });

describe('tools with the demo model', () => {
    let d;
    const say = (more) => chatText(d, ask({ messages: paris, tools: three, max_tokens: 200, ...more }));
    const calls = async (more) => (await say(more)).choices[0].message.tool_calls ?? [];
    before(async () => (d = await startDaemon()));
    after(() => d?.stop());

    test('http-074 prompt tokens grow by the system prompt and by the tool definitions', async () => {
        const tokens = async (more) => (await chatText(d, ask({ max_tokens: 1, ...more }))).usage.prompt_tokens;
        const [bare, system, tools] = [await tokens(), await tokens({ messages: [{ role: 'system', content: 'You are brief and kind.' }, ...user('Hello')] }), await tokens({ tools: three })];
        assert.ok(system > bare && tools > bare + 30, `${bare} ${system} ${tools}`);
    });

    test('http-085 tool_choice none: never a call; the tools stay in the prompt', async () => {
        const auto = await say();
        for (let seed = 0; seed < 5; seed++) {
            const { choices: [choice], usage } = await say({ tool_choice: 'none', temperature: 1, seed });
            assert.ok(!('tool_calls' in choice.message));
            assert.notEqual(choice.finish_reason, 'tool_calls');
            assert.equal(usage.prompt_tokens, auto.usage.prompt_tokens);
        }
    });

    test('http-087 tool_choice required: a call in 20 of 20 samples, also for a question without need', async () => {
        for (let seed = 0; seed < 20; seed++) {
            const { choices: [choice] } = await say({ tool_choice: 'required', temperature: 1, seed, messages: user('Hello, who are you?'), parallel_tool_calls: false });
            assert.equal(choice.message.tool_calls?.length, 1, JSON.stringify(choice));
            assert.ok(three.some((one) => one.function.name === choice.message.tool_calls[0].function.name));
            if (choice.finish_reason !== 'length') JSON.parse(choice.message.tool_calls[0].function.arguments);
        }
    });

    test('http-088 a named function: exactly one call of that one', async () => {
        for (const name of ['get_weather', 'get_time']) {
            const { choices: [choice] } = await say({ tool_choice: named(name) });
            assert.deepEqual(choice.message.tool_calls?.map((call) => call.function.name), [name], JSON.stringify(choice));
            assert.equal(choice.finish_reason, 'tool_calls');
            JSON.parse(choice.message.tool_calls[0].function.arguments);
        }
    });

    test('http-089 allowed_tools: only those of the list', async () => {
        for (let seed = 0; seed < 5; seed++) {
            const found = await calls({ tool_choice: allowed('required', 'get_time'), temperature: 1, seed });
            assert.ok(found.length > 0 && found.every((call) => call.function.name === 'get_time'), JSON.stringify(found));
        }
        for (const call of await calls({ tool_choice: allowed('auto', 'get_time', 'send_mail') })) assert.notEqual(call.function.name, 'get_weather');
    });

    test('http-090 a name that is not in the tools, required without tools: 400, param tool_choice', async () => {
        const wrong = [{ tool_choice: named('nope') }, { tools: undefined, tool_choice: 'required' }, { tools: [], tool_choice: 'required' },
            { tool_choice: allowed('auto', 'nope') }, { tool_choice: allowed('none', 'get_time') }, { tool_choice: allowed('auto') }, { tool_choice: 'sometimes' },
            { tool_choice: { type: 'allowed_tools' } }, { tool_choice: { type: 'custom', custom: { name: 'x' } } }];
        for (const more of wrong) {
            const error = await openaiError(await chat(d, ask({ tools: three, ...more })));
            assert.deepEqual([error.status, error.code, error.param], [400, 'invalid_value', 'tool_choice'], JSON.stringify(more));
        }
    });

    test('http-091 a tool without parameters, with null, with {}: works, arguments is {}', async () => {
        for (const parameters of [undefined, null, {}]) {
            const found = await calls({ tools: [{ type: 'function', function: { name: 'get_version', description: 'The version', parameters } }], tool_choice: 'required',
                messages: user('Which version is it?'), parallel_tool_calls: false });
            assert.deepEqual(JSON.parse(found[0].function.arguments), {}, JSON.stringify(found));
        }
    });

    test('http-092 http-094 strict arguments with root $defs and $ref validate, 20 of 20', async () => {
        const parameters = {
            type: 'object',
            properties: { unit: { $ref: '#/$defs/unit' }, days: { type: 'integer', minimum: 1, maximum: 7 } },
            required: ['unit', 'days'],
            additionalProperties: false,
            $defs: { unit: { enum: ['celsius', 'fahrenheit'] } },
        };
        const strict = [{ type: 'function', function: { name: 'forecast', strict: true, parameters } }];
        for (let seed = 0; seed < 20; seed++) {
            const [call] = await calls({ tools: strict, tool_choice: 'required', parallel_tool_calls: false, temperature: 1, seed, messages: user('What will the weather be?') });
            const { unit, days, ...rest } = JSON.parse(call.function.arguments);
            assert.ok(['celsius', 'fahrenheit'].includes(unit) && Number.isInteger(days) && days >= 1 && days <= 7, call.function.arguments);
            assert.deepEqual(rest, {});
        }
    });

    test('http-069 strict parameters that cannot be enforced are 400 with their path; without strict they are only words', async () => {
        const parameters = { type: 'object', properties: { n: { type: 'integer', multipleOf: 7 } }, required: ['n'] };
        const odd = (strict) => [weather, { type: 'function', function: { name: 'odd', strict, parameters } }];
        const error = await openaiError(await chat(d, ask({ tools: odd(true) })));
        assert.deepEqual([error.status, error.code, error.param], [400, 'invalid_value', 'tools[1].function.parameters.properties.n.multipleOf']);
        for (const strict of [false, undefined, null]) assert.equal((await chat(d, ask({ tools: odd(strict) }))).status, 200);
    });

    test('http-093 names with spaces and dots come back as they were sent', async () => {
        const name = 'my tools.get weather';
        const [call] = await calls({ tools: [tool(name, { location: { type: 'string' } })], tool_choice: 'required', parallel_tool_calls: false });
        assert.equal(call.function.name, name);
        const { chunks } = await readStream(await chat(d, ask({ messages: paris, tools: [tool(name, { location: { type: 'string' } })], tool_choice: named(name), max_tokens: 100, stream: true })));
        assert.deepEqual(chunks.flatMap((c) => c.choices[0].delta.tool_calls ?? []).map((c) => c.function.name).filter(Boolean), [name]);
    });

    test('http-095 parallel_tool_calls false: at most one call', async () => {
        assert.ok((await calls()).length >= 2, 'two cities, two calls');
        const { choices: [choice] } = await say({ parallel_tool_calls: false });
        assert.equal(choice.message.tool_calls.length, 1);
        assert.equal(choice.finish_reason, 'tool_calls');
    });

    test('http-084 a tool result sent back is used in the next reply', async () => {
        const asked = { role: 'assistant', content: null, tool_calls: [{ id: 'c1', type: 'function', function: { name: 'get_weather', arguments: '{"location":"Paris"}' } }] };
        for (const tool_call_id of ['c1', undefined, 'unknown']) {
            const messages = [...user('What is the weather in Paris?'), asked, { role: 'tool', tool_call_id, content: '{"temperature":17,"sky":"rain"}' }];
            const { choices: [choice] } = await say({ messages });
            assert.match(choice.message.content ?? '', /17|rain/, JSON.stringify(choice));
        }
    });

    test('http-102 http-104 http-105 http-106 a stream of two calls: openers, pieces, the reason, and no mark in the content', async () => {
        const { choices: [whole] } = await say();
        const { chunks, content } = await readStream(await chat(d, ask({ messages: paris, tools: three, max_tokens: 200, stream: true })));
        const pieces = chunks.flatMap((c) => c.choices[0].delta.tool_calls ?? []);
        assert.deepEqual([...new Set(pieces.map((p) => p.index))], whole.message.tool_calls.map((_, i) => i));
        whole.message.tool_calls.forEach((call, index) => {
            const [opener, ...rest] = pieces.filter((p) => p.index === index);
            assert.deepEqual(Object.keys(opener), ['index', 'id', 'type', 'function']);
            assert.deepEqual(opener.function, { name: call.function.name, arguments: '' });
            for (const piece of rest) assert.deepEqual([Object.keys(piece), Object.keys(piece.function)], [['index', 'function'], ['arguments']]);
            JSON.parse(rest.map((p) => p.function.arguments).join(''));
        });
        assert.equal(chunks.at(-1).choices[0].finish_reason, 'tool_calls');
        assert.ok(!content.includes('tool_call'), content);
        assert.equal(content, whole.message.content ?? '');
    });

    test('http-110 the official runner goes round until the answer', async () => {
        const runner = client(d).chat.completions.runTools({
            ...ask({ messages: user('What is the weather in Paris?'), max_tokens: 200 }),
            tools: [{ type: 'function', function: { ...weather.function, parse: JSON.parse, function: () => ({ temperature: 21, sky: 'sun' }) } }],
        });
        assert.match(await runner.finalContent() ?? '', /21|sun/);
    });

    test('system messages anywhere are taken', async () => {
        const messages = [...user('Hello'), { role: 'system', content: 'Be kind.' }, { role: 'assistant', content: 'Hi.' }, { role: 'developer', content: 'Be brief.' }, ...user('Who are you?')];
        assert.equal((await chat(d, ask({ messages }))).status, 200);
    });
});

/** What a model might say, as the engine tells it; the server's part is to print it. */
const call = (index, name, pieces) => [
    { delta: { deltas: [{ call: index, id: `id${index}`, name }], tokens: 1 } },
    ...pieces.map((args) => ({ delta: { deltas: [{ call: index, args }], tokens: 1 } })),
];
const done = { done: { reason: 'call' } };
const long = ['{"text":"', ...Array.from({ length: 200 }, (_, i) => `w${i} `), '"}'];
const script = {
    jobs: [[{ start: {} }, { text: 'ok' }, { done: {} }]],
    named: {
        three: [{ start: {} }, { text: 'I look.' }, ...call(0, 'get_weather', ['{"location"', ':"Paris"}']), ...call(1, 'get_time', ['{"city":"R\u00f6m"}']), ...call(2, 'get_weather', ['{}']), done],
        long: [{ start: {} }, ...call(0, 'send_mail', long), done],
        endless: [{ start: {} }, ...call(0, 'send_mail', long), { wait_cancel: true }, { done: { reason: 'cancelled' } }],
        cut: [{ start: {} }, ...call(0, 'get_time', ['{"city":"Ro']), { done: { reason: 'length' } }],
        broken: [{ start: {} }, { text: '<tool_call>{"name": oops' }, { done: { parse_failed: true } }],
    },
};

describe('calls as a scripted engine makes them', () => {
    let d;
    const body = (text, more) => ask({ messages: user(text), tools: three, ...more });
    const pieces = (chunks, index) => chunks.flatMap((c) => c.choices[0].delta.tool_calls ?? []).filter((p) => p.index === index);
    before(async () => (d = await startDaemon({ fake: script })));
    after(() => d?.stop());

    test('http-104 http-105 three calls in a stream all arrive, in order, each of its own pieces', async () => {
        const expected = [['get_weather', { location: 'Paris' }], ['get_time', { city: 'R\u00f6m' }], ['get_weather', {}]];
        const { chunks, content } = await readStream(await chat(d, body('three', { stream: true })));
        assert.equal(content, 'I look.');
        const streamed = expected.map((_, i) => pieces(chunks, i));
        assert.deepEqual(streamed.map(([opener, ...rest]) => [opener.function.name, JSON.parse(rest.map((p) => p.function.arguments).join(''))]), expected);
        assert.deepEqual(streamed.map(([opener]) => opener.id), ['id0', 'id1', 'id2']);
        const order = chunks.flatMap((c) => c.choices[0].delta.tool_calls ?? []).map((p) => p.index);
        assert.deepEqual(order, [...order].sort());
        assert.deepEqual([chunks.at(-1).choices[0].delta, chunks.at(-1).choices[0].finish_reason], [{}, 'tool_calls']);
        const { choices: [whole] } = await client(d).chat.completions.create(body('three'));
        assert.deepEqual(whole.message.tool_calls.map((c) => [c.function.name, JSON.parse(c.function.arguments)]), expected);
        const final = await client(d).chat.completions.stream(body('three')).finalChatCompletion();
        assert.deepEqual(final.choices[0].message.tool_calls.map((c) => c.id), ['id0', 'id1', 'id2']);
    });

    test('http-103 arguments of 200 tokens arrive in more than 20 chunks, the first long before the last', async () => {
        const { chunks } = await readStream(await chat(d, body('long', { stream: true })));
        const [, ...rest] = pieces(chunks, 0);
        assert.ok(rest.length > 20, `${rest.length}`);
        assert.equal(rest.map((p) => p.function.arguments).join(''), long.join(''));
        let seen = 0; // while the call has not ended, and never will
        for await (const chunk of await client(d).chat.completions.create(body('endless', { stream: true }))) if (chunk.choices[0].delta.tool_calls && ++seen > 20) break;
        assert.ok(seen > 20);
    });

    test('a limit inside the arguments is length, with the part that there is', async () => {
        const { choices: [choice] } = await chatText(d, body('cut'));
        assert.deepEqual([choice.finish_reason, choice.message.tool_calls[0].function.arguments], ['length', '{"city":"Ro']);
    });

    test('http-096 broken call text stays in content, tool_calls absent', async () => {
        const { choices: [choice] } = await chatText(d, body('broken'));
        assert.deepEqual([choice.message.content, 'tool_calls' in choice.message, choice.finish_reason], ['<tool_call>{"name": oops', false, 'stop']);
    });

    test('old functions: one function_call, whole and streamed', async () => {
        const old = ask({ messages: user('cut'), functions: [three[1].function], function_call: 'auto' });
        const { choices: [choice] } = await chatText(d, old);
        assert.deepEqual(choice.message.function_call, { name: 'get_time', arguments: '{"city":"Ro' });
        const { chunks } = await readStream(await chat(d, { ...old, stream: true }));
        assert.equal(chunks.map((c) => c.choices[0].delta.function_call?.arguments ?? '').join(''), '{"city":"Ro');
    });
});

test('http-079 gpt-oss: message.reasoning and delta.reasoning, whatever the setting', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'atelier-')), file = join(folder, 'gpt-oss-mini.gguf');
    writeFileSync(file, gguf({ 'general.architecture': 'gpt-oss', 'gpt-oss.context_length': 4096 }));
    try {
        for (const separateReasoningContentInAPI of [true, false]) {
            const d = await startDaemon({ models: { 'openai/gpt-oss-mini/gpt-oss-mini.gguf': file }, settings: { developer: { separateReasoningContentInAPI } },
                fake: { jobs: [[{ start: {} }, { reasoning: 'I think.' }, { text: 'Yes.' }, { done: {} }]] } });
            try {
                const { data: [{ id: model }] } = await client(d).models.list();
                const { choices: [{ message }] } = await chatText(d, ask({ model }));
                assert.deepEqual([message.reasoning, message.content, 'reasoning_content' in message], ['I think.', 'Yes.', false]);
                const { chunks, content } = await readStream(await chat(d, ask({ model, stream: true })));
                assert.deepEqual([chunks.map((c) => c.choices[0].delta.reasoning ?? '').join(''), content], ['I think.', 'Yes.']);
            } finally {
                await d.stop();
            }
        }
    } finally {
        rmSync(folder, { recursive: true });
    }
});
