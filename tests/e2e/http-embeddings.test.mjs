// http.md 6: vectors of the demo embedder, as numbers and as base64, for texts and for tokens.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startDaemon } from './lib/daemon.mjs';
import { EMBEDDER, MODEL, client, ggufMetadata, openaiError, post } from './lib/http.mjs';
import * as paths from './lib/paths.mjs';

const length = (vector) => Math.hypot(...vector);
const near = (a, b, most = 1e-6) => a.length === b.length && a.every((value, i) => Math.abs(value - b[i]) <= most);

describe('embeddings of the demo embedder', () => {
    let d, dim;
    const send = (more) => post(d, '/v1/embeddings', { model: EMBEDDER, input: 'A red fox', ...more });
    const embed = async (more) => {
        const answer = await send(more), text = await answer.text();
        assert.equal(answer.status, 200, text);
        return JSON.parse(text);
    };
    before(async () => {
        d = await startDaemon();
        dim = ggufMetadata(paths.embedModel)['qwen3.embedding_length'] ?? 128;
    });
    after(() => d?.stop());

    test('http-125 an embedding model is loaded just in time; the answer is the list of the client\'s types', async () => {
        const { stdout } = await d.lms(['ps', '--json']);
        assert.deepEqual(JSON.parse(stdout), []);
        const answer = await embed();
        assert.deepEqual(Object.keys(answer), ['object', 'data', 'model', 'usage']);
        assert.deepEqual([answer.object, answer.model, answer.data.length], ['list', EMBEDDER, 1]);
        assert.deepEqual([answer.data[0].object, answer.data[0].index], ['embedding', 0]);
        assert.equal(answer.data[0].embedding.length, dim);
        assert.ok(Math.abs(length(answer.data[0].embedding) - 1) < 1e-5);
        assert.ok(answer.usage.prompt_tokens > 0 && answer.usage.prompt_tokens === answer.usage.total_tokens);
        assert.equal((await post(d, '/embeddings', { model: EMBEDDER, input: 'x' })).status, 200, 'also without /v1');
    });

    test('http-121 openai-node without encoding_format gets the same vector as with float', async () => {
        const openai = client(d), [{ embedding: numbers }] = (await embed({ encoding_format: 'float' })).data;
        const decoded = await openai.embeddings.create({ model: EMBEDDER, input: 'A red fox' });
        assert.ok(near(decoded.data[0].embedding, numbers));
        const plain = await openai.embeddings.create({ model: EMBEDDER, input: 'A red fox', encoding_format: 'float' });
        assert.ok(near(plain.data[0].embedding, numbers, 0));
        const [{ embedding: text }] = (await embed({ encoding_format: 'base64' })).data;
        const bytes = Buffer.from(text, 'base64');
        assert.equal(bytes.toString('base64'), text, 'standard alphabet, with padding');
        assert.ok(near(Array.from({ length: dim }, (_, i) => bytes.readFloatLE(4 * i)), numbers, 1e-8));
    });

    test('http-122 string, array, token array, array of token arrays work; order is kept; usage > 0', async () => {
        const inputs = ['A red fox', 'The port of the server', 'x'.repeat(100), 'A red fox'];
        const { data, usage } = await embed({ input: inputs });
        assert.deepEqual(data.map((one) => one.index), [0, 1, 2, 3]);
        let n = 0;
        for (const [i, input] of inputs.entries()) {
            const alone = await embed({ input });
            assert.ok(near(alone.data[0].embedding, data[i].embedding, 5e-3), input); // a batch of another shape rounds otherwise
            n += alone.usage.prompt_tokens;
        }
        assert.equal(usage.prompt_tokens, n);
        assert.ok(!near(data[0].embedding, data[1].embedding, 1e-2));
        const [one, two] = [[300, 301, 302], [310]];
        const tokens = await embed({ input: one });
        assert.equal(tokens.usage.prompt_tokens, 3);
        const lists = await embed({ input: [two, one] });
        assert.equal(lists.usage.prompt_tokens, 4);
        assert.ok(near(lists.data[1].embedding, tokens.data[0].embedding, 5e-3));
    });

    test('http-123 dimensions 64: length 64, norm 1; larger than the model: 400', async () => {
        const whole = (await embed()).data[0].embedding, cut = (await embed({ dimensions: 64 })).data[0].embedding;
        assert.equal(cut.length, 64);
        assert.ok(Math.abs(length(cut) - 1) < 1e-5);
        const head = whole.slice(0, 64), scale = length(head);
        assert.ok(near(head.map((value) => value / scale), cut, 1e-5));
        assert.ok(near((await embed({ dimensions: dim })).data[0].embedding, whole));
        for (const dimensions of [dim + 1, 1e9, 0]) {
            const error = await openaiError(await send({ dimensions }));
            assert.deepEqual([error.status, error.code, error.param], [400, 'invalid_value', 'dimensions']);
        }
    });

    test('http-124 empty string, empty array, over-long text: 400; input missing: 400', async () => {
        const wrong = [
            ['invalid_value', { input: '' }], ['invalid_value', { input: [] }], ['invalid_value', { input: ['a', ''] }], ['invalid_type', { input: [[]] }],
            ['missing_required_parameter', { input: undefined }], ['missing_required_parameter', { input: null }],
            ['invalid_type', { input: 5 }], ['invalid_type', { input: ['a', 1] }], ['invalid_type', { input: [[1], 2] }], ['invalid_type', { input: {} }],
            ['invalid_value', { input: Array(2049).fill('a') }], ['invalid_value', { input: [2000000] }],
            ['context_length_exceeded', { input: 'word '.repeat(20000) }], ['context_length_exceeded', { input: ['fine', 'word '.repeat(20000)] }],
        ];
        for (const [code, more] of wrong) {
            const error = await openaiError(await send(more));
            assert.deepEqual([error.status, error.code, error.param], [400, code, 'input'], `${JSON.stringify(more).slice(0, 60)} ${error.message}`);
        }
        assert.match((await openaiError(await send({ input: ['fine', 'word '.repeat(20000)] }))).message, /1/);
        const format = await openaiError(await send({ encoding_format: 'int8' }));
        assert.deepEqual([format.code, format.param], ['invalid_value', 'encoding_format']);
    });

    test('a model that generates makes no embeddings, and one that embeds does not chat', async () => {
        const error = await openaiError(await send({ model: MODEL }));
        assert.deepEqual([error.status, error.code, error.param], [400, 'unsupported_model', 'model']);
        assert.equal((await openaiError(await send({ model: 'no-such-model' }))).status, 404);
    });

    test('two thousand texts at once come back in order, while others are answered', async () => {
        const input = Array.from({ length: 2048 }, (_, i) => `text ${i}`);
        const [{ data }, health] = await Promise.all([embed({ input, encoding_format: 'float' }), d.fetch('/v1/models')]);
        assert.equal(health.status, 200);
        assert.equal(data.length, 2048);
        const alone = (await embed({ input: 'text 1999' })).data[0].embedding;
        assert.ok(near(data[1999].embedding, alone, 5e-3));
    });

    test('clients that go away while vectors are computed leave nothing behind', async () => {
        const input = Array.from({ length: 2048 }, (_, i) => `many words in text number ${i}`);
        const abort = new AbortController();
        const gone = assert.rejects(post(d, '/v1/embeddings', { model: EMBEDDER, input }, { signal: abort.signal }));
        setTimeout(() => abort.abort(), 30);
        await gone;
        assert.equal((await embed()).data.length, 1);
    });
});
