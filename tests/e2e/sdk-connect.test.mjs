// sdk.md 1 and 2: probes, upgrades, authentication, the life of a connection.
import assert from 'node:assert/strict';
import net from 'node:net';
import test, { after } from 'node:test';
import { existsSync, readFileSync } from 'node:fs';
import { startDaemon } from './lib/daemon.mjs';
import { both, checkWire, dispose, guest, messageOf, namespaces, newClient, openRaw, recordingProxy, upgradeStatus, versions } from './lib/sdk.mjs';

const daemon = await startDaemon();
after(() => daemon.stop());

const listeners = () => [daemon.localUrl, daemon.baseUrl];
const ws = (url) => url.replace('http:', 'ws:');

test('sdk-002 the greeting needs nothing, on both listeners', async () => {
    for (const url of listeners()) {
        const response = await fetch(`${url}/lmstudio-greeting`, { headers: { 'sec-fetch-mode': 'cors' } });
        assert.equal(response.status, 200);
        assert.match(response.headers.get('content-type'), /^application\/json/);
        assert.equal((await response.json()).lmstudio, true);
    }
});

test('sdk-003 the status has a package and a version', async () => {
    for (const url of listeners()) {
        const response = await fetch(`${url}/lms-status`);
        assert.equal(response.status, 200);
        const status = await response.json();
        assert.equal(typeof status.package, 'string');
        assert.match(status.version, /^\d+\.\d+\.\d+$/);
    }
});

test('sdk-004 all eight namespaces upgrade, another path does not', async () => {
    for (const space of namespaces) assert.equal(await upgradeStatus(`${daemon.localWs}/${space}`), 101, space);
    for (const path of ['nope', 'llm/more', 'LLM', '']) assert.equal(await upgradeStatus(`${daemon.localWs}/${path}`), 404, path);
});

for (const { version, sdk } of versions)
    test(`sdk-004 a call to a namespace that is not there rejects · SDK ${version}`, async () => {
        const client = newClient(sdk, `${daemon.localWs}/nope`);
        assert.match(await messageOf(client.llm.listLoaded()), /Unexpected server response: 404/);
    });

test('sdk-005 all eight namespaces upgrade on the port of the HTTP server', async () => {
    for (const space of namespaces) assert.equal(await upgradeStatus(`${ws(daemon.baseUrl)}/${space}`), 101, space);
});

test('sdk-006 permessage-deflate is declined', async () => {
    const raw = await openRaw(daemon.localWs, 'system', guest(), { perMessageDeflate: { clientMaxWindowBits: 15 } });
    assert.equal(raw.socket.extensions, '');
    assert.equal((await raw.call('version')).type, 'rpcResult');
    raw.close();
});

test('sdk-007 a valid first frame is answered by success alone', async () => {
    const raw = await openRaw(daemon.localWs, 'llm', null);
    raw.send(guest());
    assert.deepEqual(await raw.next(), { success: true });
    raw.close();
});

test('sdk-010 a connection without an auth frame is closed', { timeout: 60_000 }, async () => {
    const raw = await openRaw(daemon.localWs, 'llm', null);
    raw.send('no JSON'); // neither this nor what follows is an auth frame
    raw.send({ type: 'rpcCall', endpoint: 'listLoaded', callId: 0 });
    raw.send({ ...guest(), clientPasskey: 'x'.repeat(257) });
    await raw.closed;
    assert.equal(raw.frames.length, 1);
    assert.equal(raw.frames[0].success, false);
    assert.equal(typeof raw.frames[0].error, 'string');
});

test('sdk-011 two lms-cli-dev with different passkeys work at once', async () => {
    const pairs = ['a', 'b'].map((clientPasskey) => ({ authVersion: 1, clientIdentifier: 'lms-cli-dev', clientPasskey }));
    const both = await Promise.all(pairs.map((auth) => openRaw(daemon.localWs, 'llm', auth)));
    for (const raw of both) assert.deepEqual((await raw.call('listLoaded')).result, []);
    both.forEach((raw) => raw.close());
});

for (const { version, sdk } of versions)
    test(`sdk-012 after a restart of the server the same client goes on, ids continue · SDK ${version}`, { timeout: 120_000 }, async () => {
        const first = await startDaemon({ http: false });
        const proxy = await recordingProxy(first.localWs);
        const client = newClient(sdk, proxy.url);
        try {
            await client.system.listDownloadedModels();
            await first.stop();
            const second = await startDaemon({ http: false });
            proxy.retarget(second.localWs);
            try {
                assert.ok((await client.system.listDownloadedModels()).length > 0);
                await dispose(client);
                const ids = proxy.frames.filter((f) => f.frame.type === 'rpcCall').map((f) => f.frame.callId);
                assert.equal(ids.length, 2);
                assert.ok(ids[1] > ids[0], String(ids));
                checkWire(proxy.frames);
            } finally {
                await second.stop();
            }
        } finally {
            proxy.close();
            await first.stop();
        }
    });

test('sdk-013 keepAlive is answered by keepAliveAck', async () => {
    const raw = await openRaw(daemon.localWs, 'system');
    raw.send({ type: 'keepAlive' });
    assert.deepEqual(await raw.next((f) => f.type), { type: 'keepAliveAck' });
    raw.close();
});

test('sdk-014 a message in fragments is put together', async () => {
    const raw = await openRaw(daemon.localWs, 'system');
    const text = JSON.stringify({ type: 'rpcCall', endpoint: 'notify', callId: 5, parameter: { title: 'héllo' } });
    for (let i = 0; i < text.length; i++) raw.socket.send(text[i], { fin: i === text.length - 1 });
    assert.deepEqual(await raw.next((f) => f.type), { type: 'rpcResult', callId: 5 });
    raw.close();
});

test('sdk-018 an upgrade from a foreign page is refused while CORS is off', async () => {
    for (const url of [daemon.localWs, ws(daemon.baseUrl)]) {
        assert.equal(await upgradeStatus(`${url}/llm`, { origin: 'https://evil.example' }), 403);
        assert.equal(await upgradeStatus(`${url}/llm`, { origin: 'null' }), 403);
        assert.equal(await upgradeStatus(`${url}/llm`, { origin: 'http://localhost:5173' }), 101);
        assert.equal(await upgradeStatus(`${url}/llm`, { headers: { Host: 'rebound.example' } }), 403);
    }
});

test('sdk-018 with CORS on it is let in on the HTTP server alone', async () => {
    const open = await startDaemon({ args: ['--cors'] });
    try {
        assert.equal(await upgradeStatus(`${ws(open.baseUrl)}/llm`, { origin: 'https://page.example' }), 101);
        assert.equal(await upgradeStatus(`${open.localWs}/llm`, { origin: 'https://page.example' }), 403);
        assert.equal(await upgradeStatus(`${ws(open.baseUrl)}/llm`, { headers: { Host: 'rebound.example' } }), 403);
    } finally {
        await open.stop();
    }
});

test('a client that authentication keeps out is told so, lms with its key is let in', async () => {
    const strict = await startDaemon({ httpConfig: { requireAuthentication: true } });
    try {
        const raw = await openRaw(strict.localWs, 'llm');
        assert.equal(raw.frames[0].success, false);
        await raw.closed;
        const key = readFileSync(strict.file('.internal/lms-key-2'), 'utf8').trim();
        const auth = { authVersion: 1, clientIdentifier: 'lms-cli', clientPasskey: `built-in${key}` };
        const lms = await openRaw(strict.localWs, 'llm', auth);
        assert.deepEqual(lms.frames[0], { success: true });
        lms.close();
        const remote = await openRaw(ws(strict.baseUrl), 'llm', auth);
        assert.equal(remote.frames[0].success, false);
        remote.close();
    } finally {
        await strict.stop();
    }
});

test('garbage on a WebSocket closes that one, and the others go on', async () => {
    const { port } = new URL(daemon.localUrl);
    const socket = net.connect(port, '127.0.0.1');
    socket.write('GET /llm HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
    socket.write(Buffer.alloc(4096, 0xff));
    await new Promise((resolve) => socket.on('close', resolve).resume());
    const raw = await openRaw(daemon.localWs, 'llm');
    assert.equal((await raw.call('listLoaded')).type, 'rpcResult');
    raw.close();
});

both(daemon, 'sdk-017 a client that did nothing but connect ends', async ({ client }) => {
    await client.llm.listLoaded();
    await client.embedding.listLoaded();
});

test('sdk-092 the files for others are there while the daemon runs', async () => {
    const one = await startDaemon({ http: true });
    try {
        const server = one.json('.internal/http-server.json');
        assert.deepEqual([server.port, server.pid, server.host], [one.localPort, one.pid, '127.0.0.1']);
        const http = one.json('.internal/http-server-config.json');
        assert.deepEqual([http.port, http.networkInterface], [one.port, '127.0.0.1']);
        const install = one.json('.internal/llmster-install-location.json');
        assert.ok(existsSync(install.path));
        assert.ok(Array.isArray(install.argv));
        assert.equal(typeof install.cwd, 'string');
        assert.ok(readFileSync(one.file('.internal/lms-key-2'), 'utf8').trim().length >= 16);
    } finally {
        await one.stop();
    }
});
