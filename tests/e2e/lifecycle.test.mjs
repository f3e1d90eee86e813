// The daemon's life: one a home, what it leaves behind, what happens when a process is killed.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { processInfo, runProgram, startDaemon, until } from './lib/daemon.mjs';
import * as paths from './lib/paths.mjs';
import { sanitizerEnv } from './lib/sanitizer.mjs';

const ask = (d, body, init) =>
    d.fetch('/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'atelier-demo', messages: [{ role: 'user', content: 'Tell me a story.' }], ...body }),
        ...init,
    });

test('disk-074 http-server.json exists exactly while the daemon listens', async () => {
    const d = await startDaemon({ models: 'none' });
    const { port, host, pid } = d.json('.internal/http-server.json');
    assert.deepEqual({ host, pid, port }, { host: '127.0.0.1', pid: d.pid, port: d.localPort });
    d.kill('SIGTERM');
    assert.equal((await d.exited()).code, 0);
    assert.equal(d.exists('.internal/http-server.json'), false);
    await d.stop();
});

test('disk-075 the second daemon of a home says so and ends with 0', async () => {
    const d = await startDaemon({ models: 'none' });
    try {
        const second = await runProgram(paths.lmsd, [], { env: d.env, timeout: 30_000 });
        assert.equal(second.code, 0);
        assert.match(second.stderr, /another lmsd runs for this home already/);
        assert.equal(d.json('.internal/http-server.json').pid, d.pid);
    } finally {
        await d.stop();
    }
});

test('kill -9 of lmsd takes its engines along, and the next daemon answers', async () => {
    const d = await startDaemon();
    await (await ask(d, { max_tokens: 1 })).json();
    const [engine] = d.engines();
    assert.ok(engine);
    const running = ask(d, { stream: true, max_tokens: 2000 }).then((reply) => reply.text()).catch(() => {});
    d.kill('SIGKILL');
    await until(() => !processInfo(engine), 'the engine is gone');
    await running;
    const next = await startDaemon({ home: d.home });
    const again = await (await ask(next, { max_tokens: 3 })).json();
    assert.equal(again.choices[0].finish_reason, 'length');
    await next.stop();
    await d.stop();
});

test('kill -9 of lmsd cuts its streams', async () => {
    const d = await startDaemon({ fake: { jobs: [[{ text: 'a', times: 100_000, every_ms: 5 }]] } });
    const reader = (await ask(d, { stream: true })).body.getReader();
    await reader.read();
    d.kill('SIGKILL');
    await assert.rejects(async () => {
        while (!(await reader.read()).done);
    });
    await d.stop();
});

test('kill -9 of an engine at rest: the next request loads the model again', async () => {
    const d = await startDaemon();
    try {
        await (await ask(d, { max_tokens: 1 })).json();
        const [first] = d.engines();
        process.kill(first, 'SIGKILL');
        await until(() => !processInfo(first), 'the engine is gone');
        const again = await ask(d, { max_tokens: 1 });
        assert.equal(again.status, 200, await again.clone().text());
        await again.json();
        const [second] = d.engines();
        assert.notEqual(second, first);
    } finally {
        await d.stop();
    }
});

test('an engine that dies while it loads is an error, and says its last words', async () => {
    const d = await startDaemon({ fake: { load: [{ progress: 0.5 }, { fatal: 'GGML_ASSERT(n > 0) failed' }] } });
    try {
        const reply = await ask(d);
        const { error } = await reply.json();
        assert.equal(reply.status, 400);
        assert.equal(error.code, 'model_load_failed');
        assert.match(error.message, /GGML_ASSERT\(n > 0\) failed/);
    } finally {
        await d.stop();
    }
});

test('an engine of another protocol is refused with both numbers', async () => {
    const d = await startDaemon({ fake: { hello: { protocol: 99 } } });
    try {
        const { error } = await (await ask(d)).json();
        assert.match(error.message, /protocol 99, this daemon speaks 1/);
    } finally {
        await d.stop();
    }
});

for (const [what, steps] of Object.entries({
    'bytes that are no frame': [{ text: 'Hi' }, { raw: 'GET / HTTP/1.1\r\n\r\n and a good deal more of it' }, { wait_ms: 60_000 }],
    'a frame that is no answer': [{ text: 'Hi' }, { frame: 64, payload: '{"protocol":1}' }, { wait_ms: 60_000 }],
    'a payload that is no JSON': [{ text: 'Hi' }, { frame: 70, payload: '{"reason":' }],
    'a closed socket': [{ text: 'Hi' }, { close: true }],
    'an exit': [{ text: 'Hi' }, { exit: 3 }],
    'a signal': [{ text: 'Hi' }, { kill: 9 }],
}))
    test(`an engine that ends with ${what} ends its request, not the server`, async () => {
        const d = await startDaemon({ fake: { named: { die: steps }, jobs: [[{ text: 'fine' }]] } });
        try {
            const text = await (await ask(d, { stream: true, messages: [{ role: 'user', content: 'die' }] })).text();
            assert.ok(/"error"/.test(text) || /finish_reason":"stop/.test(text), text);
            const next = await (await ask(d)).json();
            assert.equal(next.choices?.[0].message.content, 'fine', JSON.stringify(next));
        } finally {
            await d.stop();
        }
    });

test('an unload ends running requests with an error of their API', async () => {
    const d = await startDaemon({ fake: { jobs: [[{ text: 'a', times: 10_000, every_ms: 5 }]] } });
    try {
        const reply = await ask(d, { stream: true });
        const reader = reply.body.getReader();
        await reader.read();
        assert.equal((await d.lms(['unload', 'atelier-demo'])).code, 0);
        let text = '';
        for (let part; !(part = await reader.read()).done; ) text += Buffer.from(part.value);
        assert.match(text, /event: error\ndata: .*Model was unloaded while the request was being processed/);
        assert.doesNotMatch(text, /\[DONE\]/);
        await until(() => d.engines().length === 0, 'the engine is gone');
    } finally {
        await d.stop();
    }
});

test('10 000 requests leave the daemon\'s memory where it was', async () => {
    const d = await startDaemon({ fake: { jobs: [[{ text: 'Hello' }, { text: ' world' }]] }, httpConfig: { logSensitiveData: false },
        /* what was freed comes back soon, else the address checker keeps 256 MiB of it */
        env: { ASAN_OPTIONS: `${sanitizerEnv.ASAN_OPTIONS}:quarantine_size_mb=1` } });
    const residentKb = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${d.pid}/status`, 'utf8'))[1]);
    const round = async (n) => {
        let left = n;
        const worker = async () => {
            while (left-- > 0) await (await ask(d, { stream: left % 2 === 0 })).text();
        };
        await Promise.all(Array.from({ length: 8 }, worker));
    };
    try {
        await round(4000); // the checkers' quarantine fills, pools and the log's buffers find their size
        const before = residentKb();
        await round(6000);
        const grown = residentKb() - before;
        /* 6 000 requests that leaked as little as their own 150 bytes of body would show 900 KiB, one kept JSON tree each 15 MiB.
         * The leak checker sees what is lost; this sees what is kept. */
        assert.ok(grown < 24 * 1024, `grown by ${grown} KiB`);
    } finally {
        await d.stop();
    }
});
