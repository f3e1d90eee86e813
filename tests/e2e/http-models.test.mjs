// http.md 2 and 7: from a name to an instance, loading on request, the list of models.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { makeHome, startDaemon, until, writeJson } from './lib/daemon.mjs';
import { EMBEDDER, MODEL, ask, chat, chatText, client, openaiError } from './lib/http.mjs';
import { demoModel, embedModel } from './lib/paths.mjs';

const list = async (d, init) => (await (await d.fetch('/v1/models', init)).json()).data.map(({ id }) => id);

describe('the demo models', () => {
    let d;
    before(async () => (d = await startDaemon()));
    after(() => d?.stop());

    test('http-024 JIT on: models that are not loaded are listed', async () => {
        assert.equal(d.engines().length, 0);
        const ids = await list(d);
        assert.ok(ids.includes(MODEL), String(ids));
        assert.ok(ids.includes(EMBEDDER), String(ids));
        assert.deepEqual(ids, [...ids].sort());
    });

    test('http-029 without a name and without a loaded model: 400 with the known sentence', async () => {
        for (const model of [undefined, null, '']) {
            const error = await openaiError(await chat(d, ask({ model })));
            assert.equal(error.status, 400);
            assert.equal(error.param, 'model');
            assert.equal(error.code, null);
            assert.match(error.message, /^No models loaded\. Please load a model in the developer page or use the 'lms load' command\.$/);
        }
    });

    test('http-126 each entry has id, object, created, owned_by; one is found by %2F and by a plain slash', async () => {
        const { object, data } = await (await d.fetch('/v1/models')).json();
        assert.equal(object, 'list');
        for (const entry of data) {
            assert.deepEqual(Object.keys(entry), ['id', 'object', 'created', 'owned_by']);
            assert.equal(entry.object, 'model');
            assert.equal(entry.owned_by, 'organization_owner');
            assert.ok(Number.isInteger(entry.created) && entry.created > 1_500_000_000);
        }
        const path = 'atelier/demo/atelier-demo.gguf';
        for (const name of [MODEL, MODEL.toUpperCase(), encodeURIComponent(path), path, `${path}/`]) {
            const answer = await d.fetch(`/v1/models/${name}`);
            assert.equal(answer.status, 200, name);
            assert.deepEqual(await answer.json(), data.find(({ id }) => id === MODEL));
        }
        const error = await openaiError(await d.fetch('/v1/models/no%2Fsuch'));
        assert.equal(error.status, 404);
        assert.equal(error.code, 'model_not_found');
        assert.equal(error.param, 'model');
        assert.match(error.message, /"no\/such".*atelier-demo/);

        const openai = client(d);
        const ids = [];
        for await (const model of openai.models.list()) ids.push(model.id);
        assert.deepEqual(ids, data.map(({ id }) => id));
        assert.equal((await openai.models.retrieve(path)).id, MODEL);
        await assert.rejects(openai.models.retrieve('nope'), OpenAI.NotFoundError);
    });

    test('the list in Anthropic\'s shape', async () => {
        const body = await (await d.fetch('/v1/models', { headers: { 'anthropic-version': '2023-06-01' } })).json();
        assert.equal(body.has_more, false);
        assert.equal(body.first_id, body.data[0].id);
        assert.equal(body.last_id, body.data.at(-1).id);
        const model = body.data.find(({ id }) => id === MODEL);
        assert.equal(model.type, 'model');
        assert.match(model.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
        const missing = await d.fetch('/v1/models/nope', { headers: { 'anthropic-version': '2023-06-01' } });
        assert.equal((await missing.json()).error.type, 'not_found_error');
    });

    test('http-028 an unknown model is 404, and no other answers', async () => {
        for (const model of ['nope', 'atelier', 'atelier-dem', 'atelier-demo@q2_k', '../demo']) {
            const error = await openaiError(await chat(d, ask({ model })));
            assert.equal(error.status, 404, model);
            assert.equal(error.code, 'model_not_found');
            assert.equal(error.param, 'model');
            assert.ok(error.message.includes(`Invalid model identifier "${model}". Please specify a valid downloaded model (e.g., `), error.message);
            assert.match(error.message, /atelier-demo/);
        }
        await assert.rejects(client(d).chat.completions.create(ask({ model: 'nope', stream: true })), (error) => {
            assert.ok(error instanceof OpenAI.NotFoundError);
            assert.equal(error.code, 'model_not_found');
            assert.equal(error.param, 'model');
            return true;
        });
    });

    test('http-031 a chat request to an embedding model is 400', async () => {
        const error = await openaiError(await chat(d, ask({ model: EMBEDDER })));
        assert.equal(error.status, 400);
        assert.equal(error.code, 'unsupported_model');
        assert.equal(error.param, 'model');
    });

    test('http-025 JIT on: the first request loads, the second does not load again', async () => {
        const first = await chatText(d, ask());
        const engines = d.engines();
        assert.equal(engines.length, 1);
        const second = await chatText(d, ask());
        assert.deepEqual(d.engines(), engines);
        assert.equal(first.model, MODEL);
        assert.equal(second.choices[0].message.content, first.choices[0].message.content);
    });

    test('http-029 without a name and with one loaded LLM, that one answers', async () => {
        assert.equal((await chatText(d, ask({ model: undefined }))).model, MODEL);
        assert.equal((await chatText(d, ask({ model: '' }))).model, MODEL);
    });

    test('http-030 names are compared without case, key@quant means that variant', async () => {
        for (const model of [MODEL.toUpperCase(), `${MODEL}@q8_0`, `${MODEL}@Q8_0`, 'atelier/demo', 'Atelier/demo/Atelier-Demo.gguf'])
            assert.equal((await chatText(d, ask({ model }))).model, MODEL, model);
        assert.equal((await chat(d, ask({ model: `${MODEL}@q4_k_m` }))).status, 404);
    });

    test('http-024 JIT off: only loaded ones are listed; http-026 and a model at rest is 404', async () => {
        await chatText(d, ask());
        writeJson(d.file('.internal/http-server-config.json'), { ...d.json('.internal/http-server-config.json'), justInTimeModelLoading: false });
        await until(async () => (await list(d)).length === 1, 'the changed setting');
        assert.deepEqual(await list(d), [MODEL]);
        assert.equal((await chat(d, ask())).status, 200);
    });
});

test('http-026 JIT off: a request for a model at rest is 404 model_not_found', async () => {
    const d = await startDaemon({ httpConfig: { justInTimeModelLoading: false } });
    try {
        assert.deepEqual(await list(d), []);
        const error = await openaiError(await chat(d, ask()));
        assert.equal(error.status, 404);
        assert.equal(error.code, 'model_not_found');
        assert.equal(error.param, 'model');
        assert.match(error.message, /downloaded but not loaded.*just-in-time loading is off/);
        assert.deepEqual(d.engines(), []);
    } finally {
        await d.stop();
    }
});

test('http-027 ten requests at once for a model at rest: one load, ten answers', async () => {
    const d = await startDaemon();
    try {
        const answers = await Promise.all(Array.from({ length: 10 }, () => chatText(d, ask({ max_tokens: 4 }))));
        assert.equal(new Set(answers.map((a) => a.choices[0].message.content)).size, 1);
        assert.equal(new Set(answers.map((a) => a.id)).size, 10);
        assert.equal(d.engines().length, 1);
    } finally {
        await d.stop();
    }
});

test('http-029 with two loaded models and no name: 400', async () => {
    const d = await startDaemon({
        models: { 'a/one/one.gguf': demoModel, 'a/two/two.gguf': demoModel, 'a/embed/embed.gguf': embedModel },
        settings: { developer: { unloadPreviousJITModelOnLoad: false } },
    });
    try {
        for (const model of ['one', 'two']) assert.equal((await chatText(d, ask({ model, max_tokens: 1 }))).model, model);
        const error = await openaiError(await chat(d, ask({ model: undefined })));
        assert.equal(error.status, 400);
        assert.equal(error.param, 'model');
        assert.match(error.message, /2 models are loaded/);
        assert.deepEqual((await list(d)).slice(0, 2), ['one', 'two'], 'loaded ones come first');
    } finally {
        await d.stop();
    }
});

test('http-041 a truncated GGUF file is 400 model_load_failed; the server and other models go on', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'atelier-cut-'));
    const whole = readFileSync(demoModel);
    const cuts = { headless: 100, tensorless: whole.length >> 1 };
    const models = { 'a/whole/whole.gguf': demoModel };
    for (const [name, length] of Object.entries(cuts)) {
        writeFileSync(join(folder, name), whole.subarray(0, length));
        models[`a/${name}/${name}.gguf`] = join(folder, name);
    }
    const home = makeHome({ models });
    for (const name of Object.keys(cuts)) utimesSync(home.file(`models/a/${name}/${name}.gguf`), 1e9, 1e9); // not just being written
    const d = await startDaemon({ home: home.home });
    try {
        for (const name of Object.keys(cuts)) {
            const error = await openaiError(await chat(d, ask({ model: `a/${name}/${name}.gguf` })));
            assert.equal(error.status, 400, `${name}: ${error.message}`);
            assert.equal(error.code, 'model_load_failed', name);
            assert.equal(error.headers.get('x-should-retry'), 'false');
        }
        assert.equal((await chatText(d, ask({ model: 'whole' }))).model, 'whole');
    } finally {
        await d.stop();
        home.remove();
        rmSync(folder, { recursive: true });
    }
});
