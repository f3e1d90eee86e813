// The official JavaScript SDK in both versions, against lmsd, with everything on the wire seen by the test.
//
//   const daemon = await startDaemon();
//   both(daemon, 'sdk-039 the version has three numbers', async ({ client, wire, version }) => { … });
//
// The client talks through a proxy that keeps every frame.  When the test is through, its client is disposed of (a channel left open would
// make that hang), and the frames are checked by the rules that hold always: see checkWire.
import assert from 'node:assert/strict';
import test from 'node:test';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket, WebSocketServer } from 'ws';
import * as sdk20 from '@lmstudio/sdk';
import * as sdk15 from 'lmstudio-sdk-1.5';

export const versions = [
    { version: '2.0.0', sdk: sdk20 },
    { version: '1.5.0', sdk: sdk15 },
];

export const namespaces = ['llm', 'embedding', 'system', 'files', 'repository', 'diagnostics', 'plugins', 'runtime'];

/** A WebSocket proxy in front of a daemon's listener: { url, frames, target(url), close() }.
 * frames: { connection, space, from: 'client' | 'server', frame } in order; text that is no JSON is kept as it is. */
export async function recordingProxy(target) {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
    await new Promise((resolve) => server.on('listening', resolve));
    const frames = [];
    let connections = 0;
    server.on('connection', (client, request) => {
        const connection = connections++, space = request.url.slice(1), waiting = [];
        const upstream = new WebSocket(target + request.url, { perMessageDeflate: false });
        const note = (from, data) => {
            let frame = String(data);
            try {
                frame = JSON.parse(frame);
            } catch {
                // kept as text
            }
            frames.push({ connection, space, from, frame });
        };
        client.on('message', (data, binary) => {
            note('client', data);
            if (upstream.readyState === WebSocket.OPEN) upstream.send(data, { binary });
            else waiting.push(data);
        });
        upstream.on('open', () => waiting.splice(0).forEach((data) => upstream.send(data, { binary: false })));
        upstream.on('message', (data, binary) => {
            note('server', data);
            client.send(data, { binary });
        });
        client.on('close', () => upstream.close());
        upstream.on('close', () => client.close());
        client.on('error', () => upstream.terminate());
        upstream.on('error', () => client.terminate());
    });
    return {
        frames,
        url: `ws://127.0.0.1:${server.address().port}`,
        retarget: (url) => (target = url),
        close() {
            for (const client of server.clients) client.terminate();
            server.close();
        },
    };
}

// Members that may be null (sdk.md 11, trap 2).
const mayBeNull = new Set(['deviceIdentifier', 'ttlMs', 'lastUsedTime', 'supportedVersion', 'usedIgnoreFile', 'revisionNumber']);

function assertNoNull(value, where) {
    if (Array.isArray(value)) value.forEach((item, i) => assertNoNull(item, `${where}[${i}]`));
    else if (value && typeof value === 'object')
        for (const [key, item] of Object.entries(value)) {
            if (item === null) assert.ok(mayBeNull.has(key), `${where}.${key} is null`);
            else assertNoNull(item, `${where}.${key}`);
        }
}

/** What holds for all frames of all clients: no warning in either direction (sdk-022), no null where a member may only be absent
 * (sdk-021), each error with title and rootTitle (sdk-030), each rpc answered once, each channel ended once and silent after that. */
export function checkWire(frames, { warnings = false } = {}) {
    const calls = new Map(); // connection and id -> how it ended
    for (const { connection, space, from, frame } of frames) {
        const text = JSON.stringify(frame);
        if (!warnings) assert.notEqual(frame.type, 'communicationWarning', `${from} warns on /${space}: ${text}`);
        if (from === 'client') {
            if (frame.type === 'rpcCall') calls.set(`${connection} rpc ${frame.callId}`, undefined);
            if (frame.type === 'channelCreate') calls.set(`${connection} channel ${frame.channelId}`, undefined);
            continue;
        }
        assertNoNull(frame, text.slice(0, 300));
        if (frame.error && typeof frame.error === 'object') {
            assert.equal(typeof frame.error.title, 'string', text);
            assert.equal(typeof frame.error.rootTitle, 'string', text);
        }
        const id = frame.callId !== undefined ? `${connection} rpc ${frame.callId}` : `${connection} channel ${frame.channelId}`;
        if (frame.callId === undefined && frame.channelId === undefined) continue;
        assert.ok(calls.has(id), `an answer to nothing: ${text}`);
        assert.equal(calls.get(id), undefined, `${id} went on after its end: ${text}`);
        if (['rpcResult', 'rpcError', 'channelClose', 'channelError'].includes(frame.type)) calls.set(id, frame.type);
    }
    return calls;
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };

export const newClient = (sdk, baseUrl, more = {}) => new sdk.LMStudioClient({ baseUrl, logger: silent, verboseErrorMessages: false, ...more });

/** Disposes of a client, and throws if it does not end (sdk-017). */
export async function dispose(client, ms = 20_000) {
    const late = sleep(ms, 'late', { ref: false });
    assert.notEqual(await Promise.race([client[Symbol.asyncDispose](), late]), 'late', 'the client does not end: a channel or an rpc is open');
}

/** One test for each version of the SDK; @body gets { t, client, sdk, version, wire, proxy, frames(filter) }.
 * only: one version; warnings: clients or server are expected to warn; open: channels may be open at the end. */
export function both(daemon, name, body, { only, warnings, open } = {}) {
    for (const { version, sdk } of versions) {
        if (only && only !== version) continue;
        test(`${name} · SDK ${version}`, { timeout: 120_000 }, async (t) => {
            const server = typeof daemon === 'function' ? daemon() : daemon;
            const proxy = await recordingProxy(server.localWs);
            const client = newClient(sdk, proxy.url);
            const wire = proxy.frames;
            const sent = (type, from = 'server') => wire.filter((f) => f.from === from && f.frame.type === type).map((f) => f.frame);
            try {
                await body({ t, client, sdk, version, wire, proxy, sent, daemon: server });
                if (!open) await dispose(client);
                const calls = checkWire(wire, { warnings });
                if (!open) for (const [id, end] of calls) assert.ok(end, `${id} was never ended`);
            } finally {
                proxy.close();
            }
        });
    }
}

/** Waits for the rejection of @promise and returns its message without colours. */
export async function messageOf(promise) {
    const error = await promise.then(
        (value) => assert.fail(`it resolved: ${JSON.stringify(value)}`),
        (reason) => reason,
    );
    return String(error?.message ?? error).replace(/\x1b\[[0-9;]*m/g, '');
}

// ---- without the SDK ---------------------------------------------------------------------------------------------------------------

export const guest = () => ({
    authVersion: 1,
    clientIdentifier: `guest:${randomBytes(18).toString('base64')}`,
    clientPasskey: randomBytes(18).toString('base64'),
});

/** The status of a refused upgrade, or 101. */
export function upgradeStatus(url, options = {}) {
    return new Promise((resolve, reject) => {
        const socket = new WebSocket(url, { perMessageDeflate: false, ...options });
        socket.on('open', () => {
            resolve(101);
            socket.terminate();
        });
        socket.on('unexpected-response', (request, response) => {
            resolve(response.statusCode);
            request.destroy();
        });
        socket.on('error', (error) => reject(error));
    });
}

/** A connection whose frames the test writes itself: { send, next, call, channel, closed, socket, frames }.
 * @auth undefined: a guest; null: nothing is sent. */
export async function openRaw(base, space, auth = guest(), options = {}) {
    const socket = new WebSocket(`${base}/${space}`, { perMessageDeflate: false, ...options });
    const frames = [], waiting = [];
    let end, nextId = 0;
    const closed = new Promise((resolve) => socket.on('close', (code, reason) => resolve((end = { code, reason: String(reason) }))));
    socket.on('error', () => {});
    socket.on('message', (data) => {
        frames.push(JSON.parse(String(data)));
        for (const check of [...waiting]) check();
    });
    await new Promise((resolve, reject) => {
        socket.on('open', resolve);
        socket.on('error', reject);
    });
    const raw = {
        socket, frames, closed,
        send: (frame) => socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame)),
        /** The first frame that fits, past or to come. */
        next(fits = () => true, ms = 20_000) {
            return new Promise((resolve, reject) => {
                const timer = setTimeout(() => reject(new Error(`no such frame; there were ${JSON.stringify(frames).slice(0, 2000)}`)), ms);
                const check = () => {
                    const found = frames.find(fits);
                    if (!found && !end) return;
                    clearTimeout(timer);
                    waiting.splice(waiting.indexOf(check), waiting.includes(check) ? 1 : 0);
                    if (found) resolve(found);
                    else reject(new Error(`closed (${end.code} ${end.reason}) before such a frame`));
                };
                waiting.push(check);
                closed.then(check);
                check();
            });
        },
        /** An rpc's answer: the whole frame. */
        call(endpoint, parameter, callId = nextId++) {
            raw.send({ type: 'rpcCall', endpoint, callId, parameter });
            return raw.next((f) => f.callId === callId);
        },
        /** Opens a channel: { id, send(message), messages(), ended() }. */
        channel(endpoint, creationParameter, channelId = nextId++) {
            raw.send({ type: 'channelCreate', endpoint, channelId, creationParameter });
            return {
                id: channelId,
                send: (message) => raw.send({ type: 'channelSend', channelId, message }),
                messages: () => frames.filter((f) => f.channelId === channelId && f.type === 'channelSend').map((f) => f.message),
                message: (type) => raw.next((f) => f.channelId === channelId && f.message?.type === type),
                ended: () => raw.next((f) => f.channelId === channelId && (f.type === 'channelClose' || f.type === 'channelError')),
            };
        },
        close: () => socket.terminate(),
    };
    if (auth !== null) {
        raw.send(auth);
        await raw.next((f) => 'success' in f);
    }
    return raw;
}

export const stack = (...fields) => ({ layers: [{ layerName: 'apiOverride', config: { fields: fields.map(([key, value]) => ({ key, value })) } }] });
export const history = (text) => ({ messages: [{ role: 'user', content: [{ type: 'text', text }] }] });
export const byReference = (instanceReference) => ({ type: 'instanceReference', instanceReference });
