// http.md 3.11: what a format or a strict tool asks for is in every reply, or the request is refused.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { startDaemon } from './lib/daemon.mjs';
import { ask, chat, chatText, client, openaiError, user } from './lib/http.mjs';

const format = (schema, more) => ({ type: 'json_schema', json_schema: { name: 'answer', schema, ...more } });
const warm = (seed, more) => ask({ temperature: 1, seed, max_tokens: 1200, ...more });
const person = {
    type: 'object',
    properties: { name: { type: 'string', maxLength: 12 }, age: { type: 'integer', minimum: 0, maximum: 150 } },
    required: ['name', 'age'],
    additionalProperties: false,
};

describe('structured output of the demo model', () => {
    let d;
    before(async () => (d = await startDaemon()));
    after(() => d?.stop());

    test('http-066 json_object: 20 samples at temperature 1 all parse to objects', async () => {
        let whole = 0;
        for (let seed = 0; seed < 20; seed++) {
            const { choices: [choice] } = await chatText(d, warm(seed, { messages: user('Give me JSON about Ada, 36.'), response_format: { type: 'json_object' } }));
            assert.ok(choice.message.content.startsWith('{'), choice.message.content);
            if (choice.finish_reason === 'length') continue; // cut, as the limit may
            const value = JSON.parse(choice.message.content);
            assert.ok(value && typeof value === 'object' && !Array.isArray(value));
            whole++;
        }
        assert.ok(whole >= 15, `${whole} of 20 came to an end`);
    });

    test('http-067 json_schema with root $defs and recursive $ref: every sample validates', async () => {
        const schema = {
            $ref: '#/$defs/node',
            $defs: { node: { type: 'object', properties: { kind: { enum: ['leaf', 'tree'] }, next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] } },
                required: ['kind', 'next'], additionalProperties: false } },
        };
        const node = z.object({ kind: z.enum(['leaf', 'tree']), next: z.lazy(() => node.nullable()) }).strict();
        let whole = 0;
        for (let seed = 0; seed < 20; seed++) {
            const { choices: [choice] } = await chatText(d, warm(seed, { messages: user('A list of nodes, please.'), response_format: format(schema) }));
            if (choice.finish_reason === 'length') continue;
            node.parse(JSON.parse(choice.message.content));
            whole++;
        }
        assert.ok(whole >= 10, `${whole} of 20 came to an end`);
    });

    test('the official client parses what a zod schema asked for', async () => {
        const { choices: [{ message }] } = await client(d).chat.completions.parse(warm(1, { messages: user('Ada is 36.'), response_format: format(person, { strict: true }) }));
        z.object({ name: z.string().max(12), age: z.number().int().min(0).max(150) }).strict().parse(JSON.parse(message.content));
    });

    test('http-068 strict as string "true" is accepted', async () => {
        const { choices: [{ message }] } = await chatText(d, warm(2, { response_format: format(person, { strict: 'true' }) }));
        assert.deepEqual(Object.keys(JSON.parse(message.content)), ['name', 'age']);
    });

    test('http-069 a schema that cannot be enforced is 400 with the path of its keyword, streaming or not', async () => {
        const at = 'response_format.json_schema.schema';
        const wrong = [
            [`${at}.$ref`, { $ref: '#/$defs/none' }],
            [`${at}.properties.a.$ref`, { type: 'object', properties: { a: { $ref: 'http://example.org/x' } } }],
            [`${at}.properties.a.multipleOf`, { type: 'object', properties: { a: { type: 'integer', multipleOf: 7 } } }],
            [`${at}.properties.a.pattern`, { type: 'object', properties: { a: { type: 'string', pattern: '^(?!x)' } } }],
            [undefined, { type: 'object', properties: { a: { not: { type: 'null' } } }, patternProperties: { x: {} } }],
            [undefined, { $ref: '#/$defs/a', $defs: { a: { type: 'object', properties: { a: { $ref: '#/$defs/a' } }, required: ['a'] } } }],
        ];
        for (const [param, schema] of wrong)
            for (const stream of [false, true]) {
                const error = await openaiError(await chat(d, ask({ stream, response_format: format(schema) })));
                assert.deepEqual([error.status, error.code], [400, 'invalid_value'], error.message);
                assert.ok(param ? error.param === param : error.param.startsWith(at), `${error.param} ${error.message}`);
            }
    });

    test('schemas that are too large are refused, and keep nobody waiting', async () => {
        const many = Array.from({ length: 400000 }, (_, i) => `v${i}`);
        for (const schema of [{ enum: many }, { type: 'object', required: many }, { type: 'object', properties: Object.fromEntries(many.map((name) => [name, {}])) }]) {
            const error = await openaiError(await chat(d, ask({ response_format: format(schema) })));
            assert.deepEqual([error.status, error.param], [400, 'response_format.json_schema.schema'], error.message);
        }
    });

    test('http-070 json_schema with a reasoning model: reasoning is free text, content validates', async () => {
        const schema = { type: 'object', properties: { sum: { type: 'integer', minimum: 0, maximum: 99 } }, required: ['sum'], additionalProperties: false };
        const { choices: [{ message }] } = await chatText(d, ask({ messages: user('What is 12 + 30? /think'), max_tokens: 400, response_format: format(schema) }));
        assert.ok(message.reasoning_content?.length > 0, JSON.stringify(message));
        assert.ok(Number.isInteger(JSON.parse(message.content).sum));
    });

    test('http-071 type xml is 400, param response_format.type', async () => {
        const error = await openaiError(await chat(d, ask({ response_format: { type: 'xml' } })));
        assert.deepEqual([error.status, error.code, error.param], [400, 'invalid_value', 'response_format.type']);
    });

    test('a schema beside tools: either a call or the schema where that is settled, else refused', async () => {
        const tools = [{ type: 'function', function: { name: 'get_weather', parameters: { type: 'object', properties: { location: { type: 'string' } }, required: ['location'] } } }];
        const both = (tool_choice) => ask({ messages: user('What is the weather in Paris?'), tools, tool_choice, max_tokens: 300, response_format: format(person) });
        const none = await chatText(d, both('none')), required = await chatText(d, both('required'));
        assert.deepEqual(Object.keys(JSON.parse(none.choices[0].message.content)), ['name', 'age']);
        assert.equal(required.choices[0].message.tool_calls[0].function.name, 'get_weather');
        const error = await openaiError(await chat(d, both('auto')));
        assert.deepEqual([error.status, error.code, error.param], [501, 'not_implemented', 'response_format']);
    });

    test('http-080 http-081 effort none: no reasoning, counted 0; else at most what was generated', async () => {
        const messages = user('What is 12 + 30?');
        const off = await chatText(d, ask({ messages, reasoning_effort: 'none', max_tokens: 200 }));
        assert.ok(!('reasoning_content' in off.choices[0].message));
        assert.equal(off.usage.completion_tokens_details.reasoning_tokens, 0);
        const on = await chatText(d, ask({ messages, reasoning_effort: 'high', max_tokens: 300 }));
        const { reasoning_tokens: n } = on.usage.completion_tokens_details;
        assert.ok(n > 0 && n <= on.usage.completion_tokens, JSON.stringify(on));
    });
});
