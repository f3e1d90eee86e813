// What the tests of the HTTP APIs share: requests, event streams, raw sockets, the vocabulary of a model.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import OpenAI from 'openai';
import * as paths from './paths.mjs';

export const MODEL = 'atelier-demo';
export const EMBEDDER = 'text-embedding-atelier-demo-embed';
export const user = (content) => [{ role: 'user', content }];
/** The smallest body that runs: greedy, few tokens. */
export const ask = (more = {}) => ({ model: MODEL, messages: user('Hello'), temperature: 0, max_tokens: 16, ...more });

export const post = (daemon, path, body, init = {}) =>
    daemon.fetch(path, {
        method: 'POST',
        body: typeof body === 'string' ? body : JSON.stringify(body),
        ...init,
        headers: { 'content-type': 'application/json', ...init.headers },
    });
export const chat = (daemon, body, init) => post(daemon, '/v1/chat/completions', body, init);

/** The answer's body when it has status 200, else a failed test that shows it. */
export async function chatText(daemon, body) {
    const answer = await chat(daemon, body);
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    return JSON.parse(text);
}

/** An OpenAI client; `requests` counts what it really sent. */
export function client(daemon, options = {}) {
    const made = new OpenAI({
        baseURL: `${daemon.baseUrl}/v1`,
        apiKey: 'lm-studio',
        ...options,
        fetch: (url, init) => (made.requests++, fetch(url, init)),
    });
    made.requests = 0;
    return made;
}

/** Checks that an answer is an error of the openai family, and returns { status, message, type, param, code, headers }. */
export async function openaiError(answer) {
    const text = await answer.text();
    assert.ok(answer.status >= 400, `${answer.status} ${text}`);
    assert.match(answer.headers.get('x-request-id') ?? '', /^req_[a-z0-9]{24}$/);
    const body = JSON.parse(text);
    assert.deepEqual(Object.keys(body), ['error']);
    assert.deepEqual(Object.keys(body.error).sort(), ['code', 'message', 'param', 'type'], text);
    return { status: answer.status, headers: answer.headers, ...body.error };
}

/** Events of a stream as they come: { event, data } or { comment }, each with the raw text. */
export async function* events(answer) {
    const decoder = new TextDecoder('utf-8', { fatal: true });
    let text = '';
    for await (const bytes of answer.body) {
        text += decoder.decode(bytes, { stream: true });
        for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
            const raw = text.slice(0, end), found = { raw };
            for (const line of raw.split('\n')) {
                if (line.startsWith(':')) found.comment = line.slice(1).trim();
                else if (line.startsWith('event: ')) found.event = line.slice(7);
                else if (line.startsWith('data: ')) found.data = line.slice(6);
                else assert.fail(`a line that is none of an event: ${JSON.stringify(line)}`);
            }
            yield found;
        }
    }
    assert.equal(text + decoder.decode(), '', 'the stream ends behind an event');
}

/** A whole stream: { chunks, content, usage, finish, done, events }. */
export async function readStream(answer) {
    assert.equal(answer.status, 200, answer.status === 200 ? '' : await answer.text());
    const all = [];
    for await (const event of events(answer)) all.push(event);
    const chunks = all.filter((e) => e.data && e.data !== '[DONE]').map((e) => JSON.parse(e.data));
    return {
        events: all,
        chunks,
        content: chunks.map((c) => c.choices?.[0]?.delta?.content ?? '').join(''),
        finish: chunks.map((c) => c.choices?.[0]?.finish_reason).find(Boolean),
        usage: chunks.find((c) => c.usage)?.usage,
        done: all.at(-1)?.data === '[DONE]',
    };
}

/** Sends bytes as they are: { socket, text(), ended }.  What comes back is gathered until the server closes. */
export function raw(daemon, bytes) {
    const socket = net.connect(daemon.port, '127.0.0.1');
    let text = '';
    socket.setEncoding('latin1').on('data', (more) => (text += more));
    const ended = new Promise((resolve) => socket.on('close', () => resolve(text)).on('error', () => {}));
    socket.write(bytes);
    return { socket, text: () => text, ended };
}

/** One request on a connection of its own, headers as given: { status, head, body }. */
export async function rawRequest(daemon, method, path, headers = {}, body = '') {
    const lines = Object.entries({ Host: `127.0.0.1:${daemon.port}`, ...headers, Connection: 'close' })
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => `${name}: ${value}\r\n`);
    const length = body || method === 'POST' ? `Content-Length: ${Buffer.byteLength(body)}\r\n` : '';
    const text = await raw(daemon, `${method} ${path} HTTP/1.1\r\n${lines.join('')}${length}\r\n${body}`).ended;
    const [head, ...rest] = text.split('\r\n\r\n');
    return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]), head, body: rest.join('\r\n\r\n') };
}

/** Metadata of a GGUF file; arrays of strings and numbers become arrays. */
export function ggufMetadata(path = paths.demoModel) {
    const bytes = readFileSync(path);
    let at = 8 + 8;
    const u32 = () => bytes.readUInt32LE((at += 4) - 4);
    const u64 = () => Number(bytes.readBigUInt64LE((at += 8) - 8));
    const text = () => {
        const length = u64();
        return bytes.toString('utf8', at, (at += length));
    };
    const readers = [
        () => bytes.readUInt8(at++), () => bytes.readInt8(at++),
        () => bytes.readUInt16LE((at += 2) - 2), () => bytes.readInt16LE((at += 2) - 2),
        u32, () => bytes.readInt32LE((at += 4) - 4), () => bytes.readFloatLE((at += 4) - 4),
        () => bytes.readUInt8(at++) !== 0, text,
        () => {
            const type = u32(), n = u64(), list = [];
            for (let i = 0; i < n; i++) list.push(readers[type]());
            return list;
        },
        u64, u64, () => bytes.readDoubleLE((at += 8) - 8),
    ];
    const n = u64(), metadata = {};
    for (let i = 0; i < n; i++) {
        const key = text();
        metadata[key] = readers[u32()]();
    }
    return metadata;
}
