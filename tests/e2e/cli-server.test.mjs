// lms server, lms status, lms log.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freePort, makeHome, startDaemon, until } from './lib/daemon.mjs';

async function daemon(t, options = {}) {
    const d = await startDaemon({ http: false, models: 'none', ...options });
    t.after(() => d.stop());
    return d;
}

async function ok(d, args, more) {
    const result = await d.lms(args, more);
    assert.equal(result.code, 0, `lms ${args.join(' ')}: ${result.stdout}${result.stderr}`);
    return result;
}

test('cli-060 --port 0 takes a free port and says which', async (t) => {
    const d = await daemon(t);
    const { stderr } = await ok(d, ['server', 'start', '--port', '0']);
    const port = Number(/^Success! Server is now running on port (\d+)\n$/.exec(stderr)?.[1]);
    assert.ok(port > 0, stderr);
    assert.deepEqual(JSON.parse((await ok(d, ['server', 'status', '--json'])).stdout), { running: true, port });
    assert.equal((await ok(d, ['server', 'status'])).stderr, `The server is running on port ${port}.\n`);
    assert.deepEqual(await (await fetch(`http://127.0.0.1:${port}/lmstudio-greeting`)).json(), { lmstudio: true });
    assert.match((await ok(d, ['server', 'start'])).stderr, new RegExp(`port ${port}\\n`), 'the last port is used again');
});

test('cli-061 LMS_SERVER_HOST and --bind', async (t) => {
    const d = await daemon(t);
    const warning = 'W Server will accept connections from the network. Only use this if you know what you are doing!\n';
    const env = { LMS_SERVER_HOST: '0.0.0.0' };
    assert.ok((await ok(d, ['server', 'start', '-p', '0'], { env })).stderr.startsWith(warning));
    assert.equal(d.json('.internal/http-server-config.json').networkInterface, '0.0.0.0');
    assert.match((await ok(d, ['server', 'start', '-p', '0', '--bind', '127.0.0.1'], { env })).stderr, /^Success!/);
    assert.equal(d.json('.internal/http-server-config.json').networkInterface, '127.0.0.1');
});

test('cli-062 a start without --cors turns CORS off', async (t) => {
    const d = await daemon(t);
    const warning = 'W CORS is enabled. This means any website you visit can use the LM Studio server.\n';
    assert.ok((await ok(d, ['server', 'start', '-p', '0', '--cors'])).stderr.startsWith(warning));
    assert.equal(d.json('.internal/http-server-config.json').cors, true);
    assert.match((await ok(d, ['server', 'start'])).stderr, /^Success!/);
    const { cors, port } = d.json('.internal/http-server-config.json');
    assert.equal(cors, false);
    const answer = await fetch(`http://127.0.0.1:${port}/v1/models`, { method: 'OPTIONS', headers: { Origin: 'http://example.com', 'Access-Control-Request-Method': 'GET' } });
    assert.equal(answer.headers.get('access-control-allow-origin'), null);
});

test('cli-063 stop', async (t) => {
    const d = await daemon(t);
    const none = await d.lms(['server', 'stop']);
    assert.equal(none.code, 1);
    assert.equal(none.stderr, 'Error: The server is not running.\n');
    await ok(d, ['server', 'start', '-p', '0']);
    const { port } = d.json('.internal/http-server-config.json');
    assert.equal((await ok(d, ['server', 'stop'])).stderr, `Stopped the server on port ${port}.\n`);
    await until(() => fetch(`http://127.0.0.1:${port}/lmstudio-greeting`).then(() => false, () => true), 'a closed port');
    assert.equal((await d.lms(['server', 'stop'])).code, 1);
    assert.deepEqual(JSON.parse((await ok(d, ['server', 'status', '--json'])).stdout), { running: false, port });
});

test('cli-064 status without a configuration', async (t) => {
    const home = makeHome({ models: 'none' });
    t.after(() => home.end());
    assert.equal((await ok(home, ['server', 'status', '--json'])).stdout, '{"running":false}\n');
    assert.equal((await ok(home, ['server', 'status'])).stderr, 'The server is not running.\n');
});

test('a port that is taken is an error, and the server stays where it was', async (t) => {
    const d = await daemon(t);
    const other = await daemon(t, { http: true });
    await ok(d, ['server', 'start', '-p', '0']);
    const { port } = d.json('.internal/http-server-config.json');
    const taken = await d.lms(['server', 'start', '-p', String(other.port)]);
    assert.equal(taken.code, 1);
    assert.equal(taken.stderr, `Error: Port ${other.port} is in use.\n`);
    assert.deepEqual(JSON.parse((await ok(d, ['server', 'status', '--json'])).stdout), { running: true, port });
});

test('status', async (t) => {
    const d = await startDaemon({});
    t.after(() => d.stop());
    assert.equal((await ok(d, ['status'])).stdout, `Server: ON (port: ${d.port})\n\nNo Models Loaded\n`);
    await ok(d, ['load', 'atelier-demo', '-y']);
    assert.match((await ok(d, ['status'])).stdout, new RegExp(`^Server: ON \\(port: ${d.port}\\)\\n\\nLoaded Models\\n  · atelier-demo - \\d+\\.\\d\\d MB\\n$`));
    const json = JSON.parse((await ok(d, ['status', '--json'])).stdout);
    assert.deepEqual(json.server, { running: true, port: d.port });
    assert.equal(json.daemon.pid, d.pid);
    assert.deepEqual(json.models.map(({ identifier }) => identifier), ['atelier-demo']);
    await ok(d, ['server', 'stop']);
    await until(async () => (await ok(d, ['status'])).stdout === 'Server:  OFF \n\n(i) To start the server, run the following command:\n\n    lms server start\n', 'OFF');
    assert.match((await ok(d, ['status', '--port', String(await freePort())])).stdout, /^Server: {2}OFF /);
});

/** Runs `lms log stream` with @args while @during runs; ends it by @signal. */
async function logged(d, args, signal, during) {
    let seen = '', ready = false, kill;
    const run = d.lms(['log', 'stream', ...args], {
        onStart(child) {
            kill = () => child.kill(signal);
            child.stdout.on('data', (text) => (seen += text));
            child.stderr.on('data', (text) => (ready ||= /Streaming logs from LM Studio/.test(text)));
        },
    });
    await until(() => ready, 'the stream');
    await during(() => seen);
    kill();
    return run;
}

test('cli-065 log stream --json prints an object a line, flushed, and Ctrl-C ends it well', async (t) => {
    const d = await daemon(t, { models: 'demo' });
    await ok(d, ['load', 'atelier-demo', '-y']);
    for (const signal of ['SIGINT', 'SIGTERM']) {
        const { code, stdout } = await logged(d, ['--json', '--stats'], signal, async (seen) => {
            await ok(d, ['chat', '-p', 'hi']);
            await until(() => seen().split('\n').length >= 3, 'both lines, while it runs');
        });
        assert.equal(code, 0);
        const events = stdout.trim().split('\n').map((line) => JSON.parse(line));
        assert.deepEqual(events.map(({ data }) => data.type), ['llm.prediction.input', 'llm.prediction.output']);
        assert.ok(events.every(({ timestamp }) => timestamp > 1.6e12));
        assert.match(events[0].data.input, /hi/);
        assert.ok(events[1].data.stats.stopReason);
    }
});

test('log stream as text: the filter, the statistics, the server\'s own lines', async (t) => {
    const d = await daemon(t, { models: 'demo', http: true });
    await ok(d, ['load', 'atelier-demo', '-y']);
    const talk = async (seen) => {
        await ok(d, ['chat', '-p', 'hi']);
        await until(() => seen().endsWith('\n\n\n'), 'an event');
    };
    const input = await logged(d, ['--filter', 'input'], 'SIGINT', talk);
    assert.match(input.stdout, /^timestamp: \d{4}-\d\d-\d\dT\S+\ntype: llm\.prediction\.input\nmodelIdentifier: atelier-demo\nmodelPath: \S+\ninput:\n[^]*hi[^]*\n\n\n$/);
    const output = await logged(d, ['--filter', 'output'], 'SIGINT', talk);
    assert.match(output.stdout, /^timestamp: \S+\ntype: llm\.prediction\.output\nmodelIdentifier: atelier-demo\noutput:\n/);
    assert.doesNotMatch(output.stdout, /stopReason/);
    const stats = await logged(d, ['--filter', 'output', '--stats'], 'SIGINT', talk);
    assert.match(stats.stdout, /\nstopReason: \w+\n/);
    const server = await logged(d, ['-s', 'server'], 'SIGINT', async (seen) => {
        await d.fetch('/v1/models');
        await until(() => /\/v1\/models/.test(seen()), 'the request');
    });
    assert.doesNotMatch(server.stdout, /timestamp:/);
});

test('log stream ends with an error when the daemon goes', async (t) => {
    const d = await startDaemon({ models: 'none', http: false });
    t.after(() => d.stop());
    const { code, stderr } = await logged(d, [], 'SIGCONT', () => d.kill('SIGKILL'));
    assert.equal(code, 1);
    assert.match(stderr, /Error: The log stream ended: WebSocket connection closed/);
});

test('lms flags', async (t) => {
    const d = await daemon(t);
    assert.equal((await ok(d, ['flags'])).stderr, 'Error: No experiment flags are set.\n');
    assert.equal((await ok(d, ['flags', 'x', 'true'])).stderr, 'Set flag "x" to true.\n');
    assert.equal((await ok(d, ['flags', 'x'])).stderr, 'Flag "x" is currently enabled.\n');
    assert.equal((await ok(d, ['flags', '--json'])).stdout, '["x"]\n');
    assert.equal((await ok(d, ['flags', 'x', 'false', '--json'])).stdout, '{"flag":"x","value":false}\n');
    assert.equal((await d.lms(['flags', 'x', 'maybe'])).code, 1);
});
