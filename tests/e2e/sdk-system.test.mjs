// sdk.md 6.4 and 6.8: the daemon itself, over the SDK.
import assert from 'node:assert/strict';
import test, { after } from 'node:test';
import { freePort, startDaemon, until } from './lib/daemon.mjs';
import { both, checkWire, newClient, openRaw, recordingProxy, versions } from './lib/sdk.mjs';

const daemon = await startDaemon({ http: false, models: 'none' });
after(() => daemon.stop());

const answers = (url) => fetch(`${url}/lmstudio-greeting`).then((r) => r.ok, () => false);

both(daemon, 'sdk-088 the HTTP server starts and stops, the local port stays', async ({ client, version }) => {
    const port = await freePort();
    await client.system.startHttpServer({ port, cors: false });
    assert.ok(await answers(`http://127.0.0.1:${port}`), version); // it is open when the promise resolves
    assert.equal(daemon.json('.internal/http-server-config.json').port, port);
    await client.system.stopHttpServer();
    await until(async () => !(await answers(`http://127.0.0.1:${port}`)), 'it is closed');
    assert.ok(await answers(daemon.localUrl));
});

test('sdk-088 a port that is taken is an error', async () => {
    const raw = await openRaw(daemon.localWs, 'system');
    const { type, error } = await raw.call('startHttpServer', { port: daemon.localPort });
    assert.equal(type, 'rpcError');
    assert.equal(error.title, 'Failed to start the HTTP server');
    assert.match(error.cause, new RegExp(String(daemon.localPort)));
    raw.close();
});

test('sdk-088 the client that stops the server it came by gets its answer', async () => {
    const port = await freePort(), raw = await openRaw(daemon.localWs, 'system');
    await raw.call('startHttpServer', { port });
    const guest = await openRaw(`ws://127.0.0.1:${port}`, 'system');
    assert.deepEqual(await guest.call('stopHttpServer', undefined, 9), { type: 'rpcResult', callId: 9 });
    await guest.closed;
    assert.equal((await raw.call('version')).type, 'rpcResult');
    raw.close();
});

for (const { version, sdk } of versions)
    test(`sdk-089 whenDisconnected() resolves when the server stops, not before · SDK ${version}`, { timeout: 60_000 }, async () => {
        const other = await startDaemon({ http: false, models: 'none' });
        const proxy = await recordingProxy(other.localWs);
        try {
            const client = newClient(sdk, proxy.url);
            let over = false;
            const promise = client.system.whenDisconnected().then(() => (over = true));
            await client.system.getLMStudioVersion();
            await new Promise((resolve) => setTimeout(resolve, 300));
            assert.equal(over, false);
            await other.stop();
            await promise;
            checkWire(proxy.frames);
        } finally {
            proxy.close();
            await other.stop();
        }
    });

test('requestShutdown answers, then the daemon ends in good order', async () => {
    const other = await startDaemon({ http: false, models: 'none' });
    const raw = await openRaw(other.localWs, 'system');
    assert.deepEqual(await raw.call('requestShutdown', undefined, 3), { type: 'rpcResult', callId: 3 });
    await raw.closed;
    assert.deepEqual(await other.exited(), { code: 0, signal: null });
    await other.stop();
});

test('info tells the pid and that it is a daemon', async () => {
    const raw = await openRaw(daemon.localWs, 'system');
    const { result } = await raw.call('info');
    assert.deepEqual([result.pid, result.isDaemon], [daemon.pid, true]);
    raw.close();
});

test('experiment flags are kept in settings.json beside what else is there', async () => {
    const other = await startDaemon({ http: false, models: 'none', settings: { developer: { unloadPreviousJITModelOnLoad: false }, language: 'en' } });
    try {
        const raw = await openRaw(other.localWs, 'system');
        assert.deepEqual((await raw.call('getExperimentFlags')).result, []);
        for (const [code, value] of [['a', true], ['b', true], ['a', true], ['b', false]])
            assert.equal((await raw.call('setExperimentFlag', { code, value })).type, 'rpcResult');
        assert.deepEqual((await raw.call('getExperimentFlags')).result, ['a']);
        const settings = other.json('settings.json');
        assert.deepEqual(settings.developer, { unloadPreviousJITModelOnLoad: false, experimentFlags: ['a'] });
        assert.equal(settings.language, 'en');
        raw.close();
    } finally {
        await other.stop();
    }
});

test('the link status is what the official lms needs, and nobody is logged in', async () => {
    const raw = await openRaw(daemon.localWs, 'repository');
    const { result } = await raw.call('lmLinkStatus');
    assert.deepEqual({ ...result, deviceName: '' }, { status: 'offline', issues: ['deviceDisabled'], peers: [], deviceIdentifier: null, deviceName: '' });
    assert.equal(typeof result.deviceName, 'string');
    assert.deepEqual((await raw.call('getAuthenticationStatus')).result, { authenticationStatus: { type: 'none' } });
    raw.close();
});
