// sdk.md 4, 5, 7.2: models on disk, loading, unloading, the errors that clients word by themselves.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync } from 'node:fs';
import test, { after } from 'node:test';
import { startDaemon, until } from './lib/daemon.mjs';
import { demoModel } from './lib/paths.mjs';
import { both, byReference, messageOf, openRaw, stack } from './lib/sdk.mjs';

const daemon = await startDaemon();
after(() => daemon.stop());

const key = 'atelier-demo', embedKey = 'text-embedding-atelier-demo-embed';
const load = (client, options = {}) => client.llm.load(key, { verbose: false, ...options });
const model = (client, options = {}) => client.llm.model(key, { verbose: false, ...options });
const messages = (wire) => wire.filter((f) => f.from === 'server' && f.frame.type === 'channelSend').map((f) => f.frame.message);

async function unloadAll(client) {
    for (const space of [client.llm, client.embedding])
        for (const loaded of await space.listLoaded()) await space.unload(loaded.identifier);
}

/** A test that leaves nothing loaded. */
const onModels = (name, body, options) =>
    both(daemon, name, async (given) => {
        try {
            await body(given);
        } finally {
            await unloadAll(given.client);
        }
    }, options);

both(daemon, 'sdk-031 an unknown key lists real ones', async ({ client, sent }) => {
    const text = await messageOf(client.llm.load('no-such-model', { verbose: false }));
    assert.match(text, /no-such-model/);
    assert.match(text, /atelier-demo/);
    assert.match(await messageOf(client.llm.model('no-such-model', { verbose: false })), /atelier-demo/);
    for (const { error } of sent('channelError')) {
        assert.equal(error.displayData.code, 'generic.pathNotFound');
        assert.equal(error.displayData.totalModels, 3);
    }
});

both(daemon, 'sdk-032 model() with nothing loaded', async ({ client, sent }) => {
    assert.match(await messageOf(client.llm.model()), /No loaded model satisfies all requirements/);
    assert.deepEqual(sent('rpcError')[0].error.displayData, {
        code: 'generic.noModelMatchingQuery', query: {}, loadedModelsSample: [], totalLoadedModels: 0,
    });
});

both(daemon, 'sdk-033 unload of an unknown identifier', async ({ client, sent }) => {
    assert.match(await messageOf(client.llm.unload('x')), /identifier[^]*"?x"?/);
    assert.equal(sent('rpcError')[0].error.displayData.code, 'generic.identifierNotFound');
    assert.equal(sent('rpcError')[0].error.displayData.identifier, 'x');
});

onModels('sdk-034 respond() on an unloaded instance', async ({ client }) => {
    const one = await load(client);
    await one.unload();
    assert.match(await messageOf(one.respond('hi')), /This model has already been unloaded/);
});

both(daemon, 'sdk-035 an embedding model through client.llm', async ({ client, sent }) => {
    const text = await messageOf(client.llm.load(embedKey, { verbose: false }));
    assert.match(text, /embedding/i);
    const { displayData } = sent('channelError')[0].error;
    assert.deepEqual(displayData, { code: 'generic.domainMismatch', path: embedKey, actualDomain: 'embedding', expectedDomain: 'llm' });
    assert.match(await messageOf(client.embedding.load(key, { verbose: false })), /llm/i);
});

both(daemon, 'sdk-038 the list on disk, whole and by type', async ({ client }) => {
    const all = await client.system.listDownloadedModels();
    assert.deepEqual(new Set(all.map((m) => m.type)), new Set(['llm', 'embedding']));
    const llms = await client.system.listDownloadedModels('llm');
    assert.deepEqual(llms.map((m) => m.modelKey).sort(), all.filter((m) => m.type === 'llm').map((m) => m.modelKey).sort());
    const one = llms.find((m) => m.modelKey === key);
    assert.equal(one.path, 'atelier/demo/atelier-demo.gguf');
    assert.equal(one.format, 'gguf');
    assert.equal(one.trainedForToolUse, true);
    assert.ok(Number.isInteger(one.sizeBytes) && one.sizeBytes > 1_000_000);
});

both(daemon, 'sdk-039 the version has three numbers and a build', async ({ client }) => {
    const { version, build } = await client.system.getLMStudioVersion();
    assert.match(version, /^\d+\.\d+\.\d+$/);
    assert.equal(typeof build, 'number');
});

onModels('sdk-040 progress rises from 0 to 1', async ({ client, wire }) => {
    const told = [];
    await load(client, { onProgress: (value) => told.push(value) });
    const sentNow = messages(wire);
    const values = sentNow.filter((m) => m.type === 'progress').map((m) => m.progress);
    assert.deepEqual([values[0], values.at(-1)], [0, 1]);
    assert.deepEqual([...values].sort((a, b) => a - b), values);
    assert.deepEqual([told[0], told.at(-1)], [0, 1]);
    assert.equal(sentNow[0].type, 'resolved');
    assert.equal(sentNow.at(-1).type, 'success');
});

onModels('sdk-041 model() twice loads once', async ({ client, wire }) => {
    const first = await model(client), second = await model(client);
    const [start] = messages(wire), already = messages(wire).find((m) => m.type === 'alreadyLoaded');
    const loaded = messages(wire).find((m) => m.type === 'loadSuccess');
    assert.equal(start.type, 'startLoading');
    assert.equal(already.info.instanceReference, loaded.info.instanceReference);
    assert.equal(first.identifier, second.identifier);
    assert.equal((await client.llm.listLoaded()).length, 1);
});

onModels('sdk-041 two at the same moment load once', async ({ client, wire }) => {
    await Promise.all([model(client), model(client)]);
    assert.equal((await client.llm.listLoaded()).length, 1);
    assert.equal(new Set(messages(wire).filter((m) => m.type === 'loadSuccess').map((m) => m.info.instanceReference)).size, 1);
});

onModels('sdk-042 load() twice gives two instances', async ({ client }) => {
    const one = await load(client), two = await load(client);
    assert.deepEqual([one.identifier, two.identifier], [key, `${key}:2`]);
    assert.equal((await client.llm.listLoaded()).length, 2);
});

onModels('sdk-043 an identifier of one\'s own', async ({ client }) => {
    await load(client, { identifier: 'mine' });
    assert.equal((await client.llm.model('mine', { verbose: false })).identifier, 'mine');
    const info = await client.llm.createDynamicHandle({ identifier: 'mine' }).getModelInfo();
    assert.equal(info.identifier, 'mine');
    assert.match(await messageOf(load(client, { identifier: 'mine' })), /mine/);
    assert.equal((await client.llm.listLoaded()).length, 1);
});

onModels('sdk-044 a query by path of the repository', async ({ client }) => {
    await load(client);
    for (const path of ['atelier/demo', 'atelier/demo/atelier-demo.gguf'])
        assert.equal((await client.llm.createDynamicHandle({ path }).getModelInfo())?.modelKey, key);
    assert.equal(await client.llm.createDynamicHandle({ path: 'atelier/dem' }).getModelInfo(), undefined);
    assert.equal(await client.llm.createDynamicHandle({ vision: true }).getModelInfo(), undefined);
    assert.equal(await client.embedding.createDynamicHandle({}).getModelInfo(), undefined);
});

onModels('sdk-045 the context length is what was asked for', async ({ client, wire }) => {
    const one = await load(client, { config: { contextLength: 512 } });
    assert.equal(await one.getContextLength(), 512);
    assert.equal(messages(wire).at(-1).info.contextLength, 512);
    const { stdout, code } = await daemon.lms(['ps']);
    assert.equal(code, 0);
    assert.match(stdout, /\b512\b/);
});

onModels('sdk-046 an idle model is unloaded after its ttl', async ({ client, wire }) => {
    const one = await load(client, { ttl: 1 });
    assert.equal(messages(wire).at(-1).info.ttlMs, 1000);
    assert.equal(messages(wire).at(-1).info.lastUsedTime, null);
    const before = Date.now();
    await one.respond('hi', { maxTokens: 2 });
    const raw = await openRaw(daemon.localWs, 'llm');
    const [info] = (await raw.call('listLoaded')).result;
    assert.ok(info.lastUsedTime >= before && info.lastUsedTime <= Date.now(), String(info.lastUsedTime));
    await until(async () => (await client.llm.listLoaded()).length === 0, 'it is unloaded');
    raw.close();
});

onModels('sdk-048 load keys of other engines are ignored', async ({ client }) => {
    const raw = await openRaw(daemon.localWs, 'llm');
    const channel = raw.channel('loadModel', {
        modelKey: key,
        loadConfigStack: stack(['llm.load.mlx.autoFit', false], ['llm.load.yuzu.autoFit', false], ['what.is.this', { a: 1 }], ['llm.load.numParallelSessions', 2]),
    });
    assert.equal((await channel.ended()).type, 'channelClose');
    const config = (await raw.call('getLoadConfig', { specifier: { type: 'query', query: {} } })).result;
    const value = (name) => config.fields.find((field) => field.key === name)?.value;
    assert.equal(value('llm.load.numParallelSessions'), 2);
    assert.equal(value('llm.load.yuzu.autoFit'), undefined);
    raw.close();
});

onModels('sdk-049 unload() resolves and the model is gone', async ({ client, sent }) => {
    const one = await load(client);
    await one.unload();
    assert.deepEqual(await client.llm.listLoaded(), []);
    const answers = sent('rpcResult').filter((f) => !('result' in f));
    assert.equal(answers.length, 1);
    await until(() => daemon.engines().length === 0, 'the engine is gone');
});

onModels('sdk-050 the SDK reads the load configuration', async ({ client }) => {
    const one = await load(client, { config: { contextLength: 1024, llamaKCacheQuantizationType: 'f16', tryMmap: false } });
    const config = await one.getLoadConfig();
    assert.equal(config.contextLength, 1024);
    assert.equal(config.tryMmap, false);
}, { only: '2.0.0' });

test('sdk-034 a stale reference is told so by every endpoint', async () => {
    const raw = await openRaw(daemon.localWs, 'llm');
    const specifier = byReference('long-gone');
    for (const [endpoint, more] of [['getModelInfo', { throwIfNotFound: true }], ['getLoadConfig', {}], ['tokenize', { inputString: '' }], ['countTokens', { inputString: '' }]])
        assert.equal((await raw.call(endpoint, { specifier, ...more })).error.displayData.code, 'generic.specificModelUnloaded');
    raw.close();
});

test('a model whose file name is no UTF-8 does not silence the list', async () => {
    const other = await startDaemon({ http: false });
    try {
        mkdirSync(other.file('models/some/odd'), { recursive: true });
        copyFileSync(demoModel, Buffer.concat([Buffer.from(other.file('models/some/odd/caf')), Buffer.from([0xe9]), Buffer.from('.gguf')]));
        const raw = await openRaw(other.localWs, 'system');
        const list = async () => (await raw.call('listDownloadedModels')).result;
        await until(async () => (await list()).length === 4, 'it is in the list');
        assert.ok((await list()).some(({ path }) => path === 'some/odd/caf%E9.gguf'));
        raw.close();
    } finally {
        await other.stop();
    }
});
