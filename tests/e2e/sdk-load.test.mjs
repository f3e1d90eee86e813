// sdk.md 7.2 where timing must be scripted: a load that is cancelled, that fails, that its client leaves.
import assert from 'node:assert/strict';
import test, { after } from 'node:test';
import { startDaemon, until } from './lib/daemon.mjs';
import { both, checkWire, messageOf, newClient, openRaw, recordingProxy, versions } from './lib/sdk.mjs';

const slow = await startDaemon({ http: false, fake: { load: [{ progress: 0 }, { progress: 0.25 }, { wait_ms: 600_000 }, { ready: {} }] } });
after(() => slow.stop());
const key = 'atelier-demo';

both(slow, 'sdk-047 an aborted load rejects with the reason, frees, closes', async ({ client, sent }) => {
    const abort = new AbortController(), reason = new Error('changed my mind');
    const promise = client.llm.load(key, { verbose: false, signal: abort.signal, onProgress: (value) => value > 0 && abort.abort(reason) });
    assert.equal(await promise.catch((error) => error), reason);
    await until(() => slow.engines().length === 0, 'the engine is gone');
    await until(() => sent('channelClose').length === 1, 'the channel is closed');
    assert.equal(sent('channelError').length, 0);
    assert.deepEqual(await client.llm.listLoaded(), []);
});

both(slow, 'sdk-047 the same through model()', async ({ client, sent }) => {
    const abort = new AbortController();
    const promise = client.llm.model(key, { verbose: false, signal: abort.signal, onProgress: (value) => value > 0 && abort.abort() });
    await assert.rejects(promise);
    await until(() => slow.engines().length === 0, 'the engine is gone');
    await until(() => sent('channelClose').length === 1, 'the channel is closed');
});

test('sdk-047 one of two who wait for a load gives up, the other goes on', async () => {
    const one = await openRaw(slow.localWs, 'llm'), two = await openRaw(slow.localWs, 'llm');
    const parameter = { identifier: key, loadConfigStack: { layers: [] } };
    const first = one.channel('getOrLoad', parameter);
    await first.message('loadProgress');
    const second = two.channel('getOrLoad', parameter);
    await second.message('startLoading');
    first.send({ type: 'cancel' });
    assert.equal((await first.ended()).type, 'channelClose');
    assert.deepEqual((await one.call('listLoaded')).result, []); // still loading
    assert.equal(slow.engines().length, 1);
    two.close(); // a client that goes away gives up too
    await until(() => slow.engines().length === 0, 'the engine is gone');
    one.close();
});

for (const { version, sdk } of versions)
    test(`sdk-037 cause and suggestion of a failed load are in the message · SDK ${version}`, async () => {
        const daemon = await startDaemon({ http: false, fake: { load: [{ progress: 0 }, { fail: { kind: 'memory', message: 'there are 3 bytes too few' } }] } });
        const proxy = await recordingProxy(daemon.localWs);
        try {
            const client = newClient(sdk, proxy.url);
            const text = await messageOf(client.llm.load(key, { verbose: false }));
            assert.match(text, /Failed to load model/);
            assert.match(text, /there are 3 bytes too few/);
            assert.match(text, /smaller context/);
            assert.deepEqual(await client.llm.listLoaded(), []);
            checkWire(proxy.frames);
        } finally {
            proxy.close();
            await daemon.stop();
        }
    });

test('a load without news says its progress again before a client gives up', { timeout: 60_000 }, async () => {
    const raw = await openRaw(slow.localWs, 'llm');
    const channel = raw.channel('loadModel', { modelKey: key, loadConfigStack: { layers: [] } });
    const told = () => channel.messages().filter((m) => m.type === 'progress').map((m) => m.progress);
    await until(() => told().length >= 3, 'it is said again', 40_000);
    assert.deepEqual(told().slice(0, 3), [0, 0.25, 0.25]);
    channel.send({ type: 'cancel' });
    await channel.ended();
    await until(() => slow.engines().length === 0, 'the engine is gone');
    raw.close();
});
