// http.md 1.10: what the log says of requests, and what it never says.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startDaemon, until } from './lib/daemon.mjs';
import { ask, chat, chatText, openaiError, readStream, user } from './lib/http.mjs';

const WORD = 'rhododendron', TOKEN = 'sk-lm-abcdefgh:0123456789abcdefghij';

/** Everything in the log files of a home. */
function logFiles(d) {
    const root = d.file('server-logs');
    return readdirSync(root, { recursive: true }).filter((name) => name.endsWith('.log'))
        .map((name) => readFileSync(join(root, name), 'utf8')).join('');
}

async function run(d) {
    const headers = { authorization: `Bearer ${TOKEN}`, 'x-api-key': TOKEN };
    await (await chat(d, ask({ messages: user(WORD), max_tokens: 4 }), { headers })).text();
    await readStream(await chat(d, ask({ messages: user(WORD), max_tokens: 4, stream: true }), { headers }));
    await openaiError(await chat(d, ask({ messages: user(WORD), temperature: 9 }), { headers }));
    await openaiError(await chat(d, '{"' + WORD, { headers }));
    await until(() => d.stderr().includes('invalid_json'), 'the last error');
    return d.stderr();
}

test('a request is logged: at DEBUG its body, at INFO what runs and what came of it, at ERROR an error\'s body', async () => {
    const d = await startDaemon({ httpConfig: { verbose: true } });
    try {
        const log = await run(d);
        assert.match(log, /\[DEBUG\]\[LM STUDIO SERVER\] Received request: POST to \/v1\/chat\/completions with body .*rhododendron/);
        assert.match(log, /\[INFO\]\[atelier-demo\] Running chat completion on conversation with 1 messages\./);
        assert.match(log, /\[INFO\]\[atelier-demo\] Generated prediction: \{"id":"chatcmpl-/);
        assert.match(log, /\[INFO\]\[atelier-demo\] Finished streaming response/);
        assert.match(log, /\[ERROR\]\[LM STUDIO SERVER\] \{"error":\{"message":"\\"temperature\\" must be/);
        assert.ok(!log.includes(TOKEN.slice(6)), 'no token');
        assert.match(logFiles(d), /Running chat completion/);

        const image = 'data:image/png;base64,' + 'A'.repeat(1000);
        await (await chat(d, ask({ messages: user([{ type: 'image_url', image_url: { url: image } }]) }))).text();
        const logged = await until(() => /base64,(A+)(<\d+ more>)/.exec(d.stderr()), 'the image');
        assert.deepEqual([logged[1].length, logged[2]], [32, '<968 more>']);
    } finally {
        await d.stop();
    }
});

test('without logSensitiveData texts are lengths, on standard error and in the files', async () => {
    const d = await startDaemon({ httpConfig: { verbose: true, logSensitiveData: false, fileLoggingMode: 'full' } });
    try {
        const log = await run(d);
        for (const text of [log, logFiles(d)]) {
            assert.ok(!text.includes(WORD), 'no word of the prompt');
            assert.ok(!text.includes(TOKEN.slice(6)), 'no token');
            assert.match(text, /Received request: POST to \/v1\/chat\/completions with body <\d+ bytes>/);
            assert.match(text, /Generated prediction: <\d+ bytes>/);
        }
    } finally {
        await d.stop();
    }
});

test('a body over 1 MiB is parsed beside the loop, and a client that leaves meanwhile hurts nobody', async () => {
    const d = await startDaemon();
    try {
        const long = JSON.stringify(ask({ messages: user('x'.repeat(6 << 20)) }));
        for (let i = 0; i < 5; i++) {
            const cut = new AbortController();
            const answer = chat(d, long, { signal: cut.signal }).catch(() => {});
            setTimeout(() => cut.abort(), i * 10);
            await answer;
        }
        const bad = await openaiError(await chat(d, long.slice(0, -1)));
        assert.deepEqual([bad.status, bad.code], [400, 'invalid_json']);
        const fine = JSON.stringify({ ...ask({ max_tokens: 2 }), metadata: { x: 'y'.repeat(2 << 20) } });
        assert.equal((await chat(d, fine)).status, 200);
        assert.equal((await chatText(d, ask({ max_tokens: 2 }))).usage.completion_tokens, 2);
    } finally {
        await d.stop();
    }
});
