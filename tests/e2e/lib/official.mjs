// A daemon that is not ours, as far as sdk.md knows the official one: no member `lmsd`, and an unknown endpoint gets a warning and no answer.
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

/** Answers /lms-status and the namespaces.  @endpoints maps 'namespace.endpoint' to a value, or to a function of the parameter; what throws an
 * object answers with that as error.  Channels map to async functions of (parameter, send).  Result: { port, calls, stop() }. */
export async function startOfficial(endpoints) {
    const calls = [], unknown = [];
    const http = createServer((request, response) => {
        const body = { '/lms-status': { package: 'llmster', version: '0.4.20' }, '/lmstudio-greeting': { lmstudio: true } }[request.url];
        response.writeHead(body ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? {}));
    });
    const sockets = new WebSocketServer({ server: http });
    sockets.on('connection', (socket, request) => {
        const namespace = request.url.slice(1);
        const send = (frame) => socket.send(JSON.stringify(frame));
        let auth;
        socket.on('message', async (data) => {
            const frame = JSON.parse(data);
            if (!auth) {
                auth = frame;
                calls.push(`${namespace} as ${frame.clientIdentifier}`);
                return send({ success: true });
            }
            if (frame.type !== 'rpcCall' && frame.type !== 'channelCreate') return;
            const name = `${namespace}.${frame.endpoint}`, channelId = frame.channelId;
            calls.push(name);
            if (!(name in endpoints)) {
                unknown.push(name);
                return send({ type: 'communicationWarning', warning: `unknown endpoint ${name}`, kind: 'rpcEndpointUnknown' });
            }
            const value = endpoints[name];
            try {
                if (frame.type === 'channelCreate') {
                    await value(frame.creationParameter, (message) => send({ type: 'channelSend', channelId, message }));
                    send({ type: 'channelClose', channelId });
                } else {
                    const result = typeof value === 'function' ? await value(frame.parameter) : value;
                    send({ type: 'rpcResult', callId: frame.callId, ...(result === undefined ? {} : { result }) });
                }
            } catch (error) {
                send(channelId === undefined ? { type: 'rpcError', callId: frame.callId, error } : { type: 'channelError', channelId, error });
            }
        });
    });
    await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
    return {
        port: http.address().port, calls, unknown,
        stop() {
            for (const socket of sockets.clients) socket.terminate();
            http.close();
        },
    };
}

/** A model info as in sdk.md 5, and an instance of it. */
export const modelInfo = (modelKey, more = {}) => ({
    type: 'llm', modelKey, format: 'gguf', displayName: modelKey, publisher: 'demo', path: `demo/${modelKey}/${modelKey}.gguf`, sizeBytes: 5027784512,
    indexedModelIdentifier: `demo/${modelKey}/${modelKey}.gguf`, deviceIdentifier: null, paramsString: '8B', architecture: 'qwen2', vision: false,
    trainedForToolUse: true, maxContextLength: 40960, ...more,
});
export const instanceInfo = (modelKey, more = {}) => ({
    ...modelInfo(modelKey), identifier: modelKey, instanceReference: `ref-${modelKey}`, ttlMs: null, lastUsedTime: null, contextLength: 8192, ...more,
});
