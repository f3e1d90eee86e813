// lms chat, one answer at a time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runProgram, startDaemon, until } from './lib/daemon.mjs';
import * as paths from './lib/paths.mjs';

async function daemon(t, options = {}) {
    const d = await startDaemon({ http: false, ...options });
    t.after(() => d.stop());
    return d;
}

/** The prompts that the daemon gave to the engine while @run ran. */
async function promptsOf(d, run) {
    let stop, text = '';
    const logged = d.lms(['log', 'stream', '--json', '--filter', 'input'], {
        onStart(child) {
            child.stdout.on('data', (more) => (text += more));
            child.stderr.on('data', (more) => /Streaming/.test(more) && (stop ??= () => child.kill('SIGINT')));
        },
    });
    await until(() => stop, 'log stream');
    const result = await run();
    await until(() => text.includes('\n'), 'a line of the log');
    stop();
    await logged;
    return { ...result, prompts: text.trim().split('\n').map((line) => JSON.parse(line).data.input) };
}

test('cli-049 what is piped in is the prompt, or joins it', async (t) => {
    const d = await daemon(t);
    const piped = await promptsOf(d, () => d.lms(['chat', 'atelier-demo'], { stdin: ' hi \n' }));
    assert.equal(piped.code, 0, piped.stderr);
    assert.ok(piped.stdout.length > 1 && piped.stdout.endsWith('\n'));
    assert.equal(piped.prompts.length, 1);
    assert.match(piped.prompts[0], /hi/);
    const both = await promptsOf(d, () => d.lms(['chat', 'atelier-demo', '-p', 'sum'], { stdin: 'data' }));
    assert.match(both.prompts[0], /sum\n\ndata/);
    const empty = await d.lms(['chat', 'atelier-demo']);
    assert.equal(empty.code, 1);
    assert.equal(empty.stderr, 'Error: No prompt provided for non-interactive chat.\n');
});

test('cli-050 nothing loaded, or nothing of that name', async (t) => {
    const d = await daemon(t);
    const none = await d.lms(['chat', '-p', 'hi']);
    assert.equal(none.code, 1);
    assert.equal(none.stdout, '');
    assert.equal(none.stderr, 'Error: No loaded model found, load with:\n       lms load\n');
    const unknown = await d.lms(['chat', '-p', 'hi', 'nosuch']);
    assert.equal(unknown.code, 1);
    assert.equal(unknown.stderr, 'Error: Model "nosuch" not found, load with:\n       lms load nosuch\n');
    await d.lms(['load', 'atelier-demo', '-y']);
    const any = await d.lms(['chat', '-p', 'hi']);
    assert.equal(any.code, 0, any.stderr);
});

test('a model that chat loads has an idle time', async (t) => {
    const d = await daemon(t);
    for (const [args, ttl] of [[[], 3600_000], [['--ttl', '90'], 90_000]]) {
        assert.equal((await d.lms(['chat', 'atelier-demo', '-p', 'hi', ...args])).code, 0);
        assert.equal(JSON.parse((await d.lms(['ps', '--json'])).stdout)[0].ttlMs, ttl);
        await d.lms(['unload', '--all']);
    }
});

test('cli-051 reasoning stands between think lines', async (t) => {
    const d = await daemon(t, { fake: { jobs: [[{ start: {} }, { reasoning: 'let me see' }, { text: 'Hello' }, { text: '!' }, { done: {} }]] } });
    const { code, stdout, stderr } = await d.lms(['chat', 'atelier-demo', '-p', 'hi']);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, '<think>\nlet me see\n</think>\nHello!\n');
});

test('cli-052 --stats go to stderr', async (t) => {
    const d = await daemon(t);
    const { code, stdout, stderr } = await d.lms(['chat', 'atelier-demo', '-p', 'hi', '--stats']);
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stdout, /Prediction Stats/);
    assert.match(stderr, /^\nPrediction Stats:\n {2}Stop Reason: \w+\n {2}Tokens\/Second: \d+\.\d\d\n {2}Time to First Token: \d+\.\d{3}s\n {2}Prompt Tokens: \d+\n {2}Predicted Tokens: \d+\n {2}Total Tokens: \d+\n$/);
});

test('fragments are shown as they come, Ctrl-C stops the reply', async (t) => {
    const d = await daemon(t, { fake: { jobs: [[{ start: {} }, { text: 'tick ', times: 100_000, every_ms: 20 }, { done: {} }]] } });
    let seen = '';
    const { code, stdout } = await d.lms(['chat', 'atelier-demo', '-p', 'hi'], {
        onStart(child) {
            child.stdout.on('data', (text) => (seen += text));
            until(() => seen.length > 10, 'some text').then(() => child.kill('SIGINT'));
        },
    });
    assert.equal(code, 130);
    assert.match(stdout, /^(tick )+\n$/);
    await until(async () => JSON.parse((await d.lms(['ps', '--json'])).stdout)[0].status === 'idle', 'end of the job');
});

test('a reader that goes away ends chat with 141', async (t) => {
    const d = await daemon(t, { fake: { jobs: [[{ start: {} }, { text: 'tick ', times: 100_000, every_ms: 1 }, { done: {} }]] } });
    const { stdout } = await runProgram('bash', ['-c', `"${paths.lms}" chat atelier-demo -p hi | head -c 5; echo " \${PIPESTATUS[0]}"`], { env: d.env });
    assert.equal(stdout, 'tick  141\n');
    await until(async () => JSON.parse((await d.lms(['ps', '--json'])).stdout)[0].status === 'idle', 'end of the job');
});

test('an engine that dies in the reply is an error', async (t) => {
    const d = await daemon(t, { fake: { jobs: [[{ start: {} }, { text: 'half' }, { kill: 9 }]] } });
    const { code, stdout, stderr } = await d.lms(['chat', 'atelier-demo', '-p', 'hi']);
    assert.equal(code, 1);
    assert.equal(stdout, 'half\n');
    assert.match(stderr, /^Error: Error during chat: /);
});

test('a daemon that dies in the reply is an error', async (t) => {
    const d = await daemon(t, { fake: { jobs: [[{ start: {} }, { text: 'tick ', times: 100_000, every_ms: 20 }, { done: {} }]] } });
    const { code, stdout, stderr } = await d.lms(['chat', 'atelier-demo', '-p', 'hi'], {
        onStart: (child) => child.stdout.once('data', () => d.kill('SIGKILL')),
    });
    assert.equal(code, 1);
    assert.match(stdout, /^(tick )+\n$/);
    assert.equal(stderr, 'Error: Error during chat: WebSocket connection closed\n');
});

test('more than 16 MiB on stdin are refused', async (t) => {
    const d = await daemon(t, { models: 'none' });
    const { code, stderr } = await d.lms(['chat', 'm'], { stdin: 'x'.repeat(16 * 1024 * 1024 + 1) });
    assert.equal(code, 1);
    assert.equal(stderr, 'Error: The text on stdin is larger than 16 MiB.\n');
});
