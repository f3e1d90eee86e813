// http.md 1: routes, errors, bodies, limits, Host, Origin and CORS, as any client sees them.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { startDaemon, until } from './lib/daemon.mjs';
import { MODEL, ask, chat, openaiError, post, raw, rawRequest, user } from './lib/http.mjs';

describe('one daemon, CORS off', () => {
    let d;
    before(async () => (d = await startDaemon()));
    after(() => d?.stop());

    test('http-003 an unknown path is 404 in the openai form', async () => {
        const error = await openaiError(await d.fetch('/nope?x=1'));
        assert.equal(error.status, 404);
        assert.match(error.message, /Unexpected endpoint or method\. \(GET \/nope\)/);
        assert.equal(error.code, 'not_found');
        assert.equal(error.type, 'not_found_error');
    });

    test('http-004 each family has its form, and a wrong method says the right ones', async () => {
        const v1 = await d.fetch('/api/v1/nope', { method: 'POST', body: '{}' });
        assert.equal(v1.status, 404);
        const { error } = await v1.json();
        assert.equal(error.type, 'unknown');
        assert.match(error.message, /POST \/api\/v1\/nope/);

        const anthropic = await d.fetch('/v1/messages');
        assert.equal(anthropic.status, 405);
        assert.equal(anthropic.headers.get('allow'), 'POST');
        const body = await anthropic.json();
        assert.equal(body.type, 'error');
        assert.equal(body.error.type, 'invalid_request_error');
        assert.equal(body.request_id, anthropic.headers.get('request-id'));
        assert.equal(body.request_id, anthropic.headers.get('x-request-id'));

        const openai = await openaiError(await d.fetch('/v1/models', { method: 'DELETE' }));
        assert.equal(openai.status, 405);
        assert.equal(openai.headers.get('allow'), 'GET, HEAD');
    });

    test('families still to come answer 501 in their own form, and are not tried again', async () => {
        for (const [path, check] of [
            ['/v1/responses', (b) => assert.equal(b.error.code, 'not_implemented')],
            ['/v1/messages', (b) => assert.equal(b.error.type, 'api_error')],
            ['/api/v0/completions', (b) => assert.equal(b.error.code, 'not_implemented')],
            ['/api/v1/chat', (b) => assert.equal(b.error.type, 'not_implemented')],
        ]) {
            const answer = await post(d, path, { model: MODEL });
            assert.equal(answer.status, 501, path);
            assert.equal(answer.headers.get('x-should-retry'), 'false');
            check(await answer.json());
        }
    });

    test('http-005 paths without /v1 and with more slashes work', async () => {
        const answer = await post(d, '/chat/completions', ask());
        assert.equal(answer.status, 200);
        assert.equal((await answer.json()).object, 'chat.completion');
        for (const path of ['/v1//models', '/v1/models/', '/models', '//models//?x=%2F']) {
            const list = await d.fetch(path);
            assert.equal(list.status, 200, path);
            assert.equal((await list.json()).object, 'list');
        }
    });

    test('HEAD answers like GET, without a body', async () => {
        const head = await d.fetch('/v1/models', { method: 'HEAD' });
        const get = await d.fetch('/v1/models');
        assert.equal(head.status, 200);
        assert.equal(await head.text(), '');
        assert.equal(head.headers.get('content-length'), get.headers.get('content-length'));
        assert.equal(get.headers.get('content-type'), 'application/json; charset=utf-8');
    });

    test('http-008 every error of the openai family has exactly four keys', async () => {
        const answers = await Promise.all([
            d.fetch('/nope'), d.fetch('/v1/models', { method: 'POST' }), d.fetch('/v1/models/nope'),
            chat(d, '{'), chat(d, '[]'), chat(d, ''), chat(d, {}), chat(d, ask({ messages: [] })),
            chat(d, ask({ model: 'nope' })), chat(d, ask({ temperature: 'x' })), chat(d, ask({ preset: 'x' })),
            chat(d, ask(), { headers: { origin: 'http://evil.example' } }), d.fetch('/v1/models', { method: 'OPTIONS' }),
            post(d, '/v1/completions', {}),
        ]);
        for (const answer of answers) await openaiError(answer);
    });

    test('a body that is no JSON object says what it is instead', async () => {
        const bad = await openaiError(await chat(d, '{"model": nope}'));
        assert.equal(bad.code, 'invalid_json');
        assert.match(bad.message, /byte \d+/);
        const list = await openaiError(await chat(d, '[1]'));
        assert.equal(list.status, 400);
        assert.match(list.message, /JSON object, not an array/);
        const none = await openaiError(await chat(d, ''));
        assert.equal(none.status, 400);
        assert.match(none.message, /no body/);
        const deep = await openaiError(await chat(d, '{"a":' + '['.repeat(200) + ']'.repeat(200) + '}'));
        assert.equal(deep.code, 'invalid_json');
        for (const number of ['1e999', '99999999999999999999'])
            assert.equal((await openaiError(await chat(d, `{"seed":${number}}`))).code, 'invalid_json');
        assert.equal((await chat(d, '\uFEFF' + JSON.stringify(ask({ max_tokens: 1 })))).status, 200);
    });

    test('a body cut at every point is 400, and a connection cut there hurts nobody', async () => {
        const body = JSON.stringify({ model: MODEL, messages: user('h\u00e9 "x"'), stop: ['\n'], n: 1.0 });
        const bytes = Buffer.from(body);
        for (let cut = 0; cut < bytes.length; cut++) {
            const answer = await chat(d, undefined, { body: bytes.subarray(0, cut) });
            const error = await openaiError(answer);
            assert.equal(error.status, 400, `cut at ${cut}`);
            assert.equal(error.code, 'invalid_json', `cut at ${cut}`);
        }
        for (let cut = 0; cut < bytes.length; cut += 7) {
            const { socket } = raw(d, `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${bytes.length}\r\n\r\n`);
            socket.end(bytes.subarray(0, cut));
        }
        assert.equal((await chat(d, ask({ max_tokens: 1 }))).status, 200);
    });

    test('http-009 a body over the limit is 413: declared, without being read; chunked, at the limit', async () => {
        const declared = raw(d, `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${64 * 1024 * 1024 + 1}\r\n\r\n`);
        await until(() => declared.text().includes('request_too_large'), 'the answer to a body that was never sent');
        assert.match(declared.text(), /^HTTP\/1\.1 413 /);
        declared.socket.destroy();

        const request = http.request({ port: d.port, host: '127.0.0.1', method: 'POST', path: '/api/v1/models/load' });
        const answer = new Promise((resolve, reject) => request.on('response', resolve).on('error', reject));
        answer.catch(() => {});
        let sent = 0, stop = false;
        answer.then(() => (stop = true), () => (stop = true));
        let wake = () => {};
        for (const event of ['drain', 'close', 'response']) request.on(event, () => wake());
        const chunk = Buffer.alloc(64 * 1024, 0x20);
        while (!stop && sent < 64 * 1024 * 1024 && !request.destroyed) {
            sent += chunk.length;
            if (!request.write(chunk) && !stop) await new Promise((resolve) => (wake = resolve));
        }
        const { statusCode } = await answer;
        assert.equal(statusCode, 413);
        assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes were taken`);
        request.destroy();
    });

    test('http-010 a request without a content type works', async () => {
        const { status, body } = await rawRequest(d, 'POST', '/v1/chat/completions', {}, JSON.stringify(ask({ max_tokens: 1 })));
        assert.equal(status, 200, body);
        const form = await rawRequest(d, 'POST', '/v1/chat/completions', { 'Content-Type': 'application/x-www-form-urlencoded' },
            JSON.stringify(ask({ max_tokens: 1 })));
        assert.equal(form.status, 200);
    });

    test('a body may be gzipped; another coding is 415', async () => {
        const body = gzipSync(JSON.stringify(ask({ max_tokens: 1 })));
        const fine = await chat(d, undefined, { body, headers: { 'content-encoding': 'gzip' } });
        assert.equal(fine.status, 200, await fine.text());
        const cut = await openaiError(await chat(d, undefined, { body: body.subarray(0, -9), headers: { 'content-encoding': 'gzip' } }));
        assert.equal(cut.status, 400);
        const other = await openaiError(await chat(d, undefined, { body, headers: { 'content-encoding': 'br' } }));
        assert.deepEqual([other.status, other.code], [415, 'unsupported_media_type']);
    });

    test('http-011 null for every optional field equals leaving it out', async () => {
        const fields = ['stream', 'stream_options', 'top_p', 'top_k', 'min_p', 'repeat_penalty', 'repetition_penalty',
            'presence_penalty', 'frequency_penalty', 'logit_bias', 'seed', 'max_completion_tokens', 'stop', 'n', 'logprobs',
            'top_logprobs', 'response_format', 'tools', 'tool_choice', 'parallel_tool_calls', 'grammar', 'reasoning_effort', 'reasoning',
            'ttl', 'preset', 'draft_model', 'context_overflow_policy', 'audio', 'modalities', 'web_search_options', 'user', 'metadata'];
        const nulls = Object.fromEntries(fields.map((name) => [name, null]));
        const [with_, without] = [await chat(d, ask(nulls)), await chat(d, ask())];
        assert.equal(with_.status, 200);
        assert.deepEqual((await with_.json()).choices, (await without.json()).choices);
    });

    test('http-012 an unknown field is ignored', async () => {
        assert.equal((await chat(d, ask({ max_tokens: 1, foo: { bar: [1] } }))).status, 200);
    });

    test('http-013 every response has x-request-id', async () => {
        const ids = new Set();
        for (const answer of await Promise.all([
            d.fetch('/lmstudio-greeting'), d.fetch('/lms-status'), d.fetch('/v1/models'), d.fetch('/v1/models', { method: 'HEAD' }),
            d.fetch('/nope'), d.fetch('/v1/messages'), d.fetch('/x', { method: 'OPTIONS' }), chat(d, '{'), chat(d, ask()),
            chat(d, ask({ stream: true })), chat(d, ask(), { headers: { origin: 'null' } }),
            chat(d, ask(), { headers: { 'content-encoding': 'br' } }),
        ])) {
            const id = answer.headers.get('x-request-id');
            assert.match(id ?? 'none', /^req_[a-z0-9]{24}$/, `${answer.url} ${answer.status}`);
            assert.equal(answer.headers.get('x-powered-by'), null);
            ids.add(id);
            await answer.text();
        }
        assert.equal(ids.size, 12);
    });

    test('http-016 CORS off: OPTIONS is 403, no Access-Control header anywhere', async () => {
        for (const answer of [
            await d.fetch('/v1/chat/completions', { method: 'OPTIONS', headers: { origin: 'http://localhost:5173', 'access-control-request-method': 'POST' } }),
            await d.fetch('/v1/models'),
            await d.fetch('/v1/models', { headers: { origin: 'http://evil.example' } }),
            await chat(d, ask({ max_tokens: 1 }), { headers: { origin: 'http://localhost:5173' } }),
        ]) {
            const names = [...answer.headers.keys()];
            assert.deepEqual(names.filter((name) => name.startsWith('access-control')), []);
            if (answer.url.endsWith('completions') && answer.status !== 200) assert.equal(answer.status, 403);
            await answer.text();
        }
    });

    test('http-017 a foreign Origin or Host runs nothing; ours work', async () => {
        for (const origin of ['http://evil.example', 'null', 'file://', 'http://localhost.evil.example']) {
            const error = await openaiError(await chat(d, ask({ model: 'never-run' }), { headers: { origin } }));
            assert.equal(error.status, 403, origin);
            assert.equal(error.code, 'cors_disabled');
        }
        for (const origin of ['http://localhost:5173', 'http://127.0.0.1', 'http://[::1]:80'])
            assert.equal((await chat(d, ask({ max_tokens: 1 }), { headers: { origin } })).status, 200, origin);
        for (const [host, status] of [
            ['evil.example', 403], ['evil.example:1234', 403], ['localhost', 200], ['127.0.0.1', 200], ['host.docker.internal', 200],
            ['[::1]:9', 200], ['nas.local', 200], ['127.0.0.1.evil.example', 403],
        ]) {
            const answer = await rawRequest(d, 'GET', '/v1/models', { Host: host });
            assert.equal(answer.status, status, host);
            if (status === 403) assert.match(answer.body, /host_not_allowed/);
        }
        const socket = await rawRequest(d, 'GET', '/llm', {
            Host: 'evil.example', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
        });
        assert.equal(socket.status, 403);
    });

    test('http-017 a form posted by a page is refused, whoever it is', async () => {
        const error = await openaiError(await chat(d, ask(), { headers: { origin: 'http://localhost:1', 'content-type': 'text/plain' } }));
        assert.equal(error.status, 415);
    });

    test('the local listener has no REST', async () => {
        const greeting = await fetch(`${d.localUrl}/lmstudio-greeting`);
        assert.deepEqual(await greeting.json(), { lmstudio: true });
        const status = await (await fetch(`${d.localUrl}/lms-status`)).json();
        assert.equal(status.package, 'llmster');
        assert.match(status.version, /^\d+\.\d+\.\d+$/);
        assert.equal(typeof status.lmsd, 'string');
        assert.equal((await openaiError(await fetch(`${d.localUrl}/v1/models`))).status, 404);
    });
});

test('http-018 CORS on: preflight is 204 with the headers asked for, answers can be read', async () => {
    const d = await startDaemon({ args: ['--cors'] });
    try {
        const preflight = await d.fetch('/v1/chat/completions', {
            method: 'OPTIONS',
            headers: {
                origin: 'http://evil.example', 'access-control-request-method': 'POST',
                'access-control-request-headers': 'content-type, x-stainless-os', 'access-control-request-private-network': 'true',
            },
        });
        assert.equal(preflight.status, 204);
        assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
        assert.equal(preflight.headers.get('access-control-allow-headers'), 'content-type, x-stainless-os');
        assert.equal(preflight.headers.get('access-control-allow-methods'), 'GET, POST, DELETE, OPTIONS');
        assert.equal(preflight.headers.get('access-control-max-age'), '86400');
        assert.equal(preflight.headers.get('access-control-allow-private-network'), 'true');
        assert.equal(preflight.headers.get('access-control-allow-credentials'), null);

        for (const stream of [false, true]) {
            const answer = await chat(d, ask({ max_tokens: 1, stream }), { headers: { origin: 'http://evil.example' } });
            assert.equal(answer.status, 200);
            assert.equal(answer.headers.get('access-control-allow-origin'), '*');
            assert.equal(answer.headers.get('access-control-expose-headers'), 'x-request-id, request-id');
            await answer.text();
        }
        const refused = await d.fetch('/nope', { headers: { origin: 'http://evil.example' } });
        assert.equal(refused.headers.get('access-control-allow-origin'), '*');
        assert.equal((await rawRequest(d, 'GET', '/v1/models', { Host: 'evil.example' })).status, 403);
    } finally {
        await d.stop();
    }
});

test('http-001 the greeting is not held up by a load', async () => {
    const d = await startDaemon({ fake: { load: [{ progress: 0.1 }, { wait_ms: 4000 }, { ready: {} }] } });
    try {
        let answered = false;
        const slow = chat(d, ask()).then((answer) => ((answered = true), answer));
        await until(() => d.engines().length === 1, 'the load has begun');
        for (const base of [d.baseUrl, d.localUrl]) {
            const greeting = await fetch(`${base}/lmstudio-greeting`, { headers: { authorization: 'Bearer nothing' } });
            assert.equal(greeting.status, 200);
            assert.deepEqual(await greeting.json(), { lmstudio: true });
        }
        assert.equal(answered, false);
        assert.equal((await slow).status, 200);
    } finally {
        await d.stop();
    }
});
