// lms and the daemon: finding it, waking it, ending it.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort, makeHome, programsIn, startDaemon, until, writeJson } from './lib/daemon.mjs';

const daemonsIn = (home) => programsIn(home).filter(({ args }) => args[0].endsWith('lmsd'));

test('cli-010 ten lms ps at once start one daemon', async (t) => {
    const home = makeHome({ models: 'none' });
    t.after(() => home.end());
    const runs = await Promise.all(Array.from({ length: 10 }, () => home.lms(['ps', '--json'])));
    for (const { code, stdout, stderr } of runs) {
        assert.equal(code, 0, stderr);
        assert.equal(stdout, '[]\n');
    }
    assert.equal(runs.filter(({ stderr }) => stderr.includes('Waking up LM Studio service...')).length, 1);
    assert.equal(daemonsIn(home.home).length, 1);
});

test('a daemon that was killed is not taken for alive, and not its port for ours', async (t) => {
    const first = await startDaemon({ models: 'none', http: false });
    const second = await startDaemon({ models: 'none', http: false });
    t.after(() => second.stop());
    t.after(() => first.stop());
    first.kill('SIGKILL');
    await first.exited();
    writeJson(first.file('.internal/http-server.json'), { ...first.json('.internal/http-server.json'), port: second.localPort });
    const { stdout } = await first.lms(['daemon', 'status']);
    assert.equal(stdout, 'LM Studio is not running\n');
});

test('a file that names a silent port costs no more than the look behind it', async (t) => {
    const home = makeHome({ models: 'none' });
    t.after(() => home.end());
    const silent = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    t.after(() => silent.close());
    writeJson(home.file('.internal/http-server.json'), { port: silent.address().port, pid: process.pid, lmsd: '0.1.0' });
    const { code, stdout, stderr } = await home.lms(['ps', '--json']);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, '[]\n');
});

test('cli-012 LMS_API_SERVER_INFO_PATH names one daemon and no other', async (t) => {
    const d = await startDaemon({ models: 'none', http: false });
    t.after(() => d.stop());
    const home = makeHome({ models: 'none' });
    t.after(() => home.end());
    const info = join(home.folder, 'info.json');
    writeJson(info, { port: await freePort() });
    const env = { LMS_API_SERVER_INFO_PATH: info };
    const dead = await home.lms(['ps'], { env });
    assert.equal(dead.code, 1);
    assert.equal(dead.stderr, `Error: Failed to connect using ${info}.\n`);
    assert.deepEqual(programsIn(home.home), []);
    writeJson(info, { port: d.localPort });
    const alive = await home.lms(['ps', '--json'], { env });
    assert.equal(alive.code, 0, alive.stderr);
    assert.deepEqual(programsIn(home.home), []);
});

test('cli-013 server status, daemon status, status and --help start nothing', async (t) => {
    const home = makeHome({ models: 'none' });
    t.after(() => home.end());
    for (const args of [['server', 'status'], ['daemon', 'status'], ['status'], ['status', '--json'], ['--help'], ['server', 'status', '--json']])
        assert.equal((await home.lms(args)).code, 0);
    assert.equal((await home.lms(['daemon', 'status'])).stdout, 'LM Studio is not running\n');
    assert.equal((await home.lms(['daemon', 'status', '--json'])).stdout, '{"status":"not-running"}\n');
    assert.deepEqual(programsIn(home.home), []);
    assert.equal(home.exists('.internal'), false, 'nothing is written either');
});

test('cli-067 daemon up and down', async (t) => {
    const home = makeHome({ models: 'none' });
    t.after(() => home.end());
    const up = await home.lms(['daemon', 'up', '--json']);
    assert.equal(up.code, 0, up.stderr);
    const status = JSON.parse(up.stdout);
    assert.deepEqual(Object.keys(status), ['status', 'pid', 'isDaemon', 'version']);
    const [{ pid }] = daemonsIn(home.home);
    assert.deepEqual({ ...status, version: undefined }, { status: 'running', pid, isDaemon: true, version: undefined });
    assert.equal((await home.lms(['daemon', 'up'])).stderr, `The daemon is already running (PID: ${pid}).\n`);
    assert.match((await home.lms(['daemon', 'status'])).stdout, new RegExp(`^lmsd v\\S+ is running \\(PID: ${pid}\\)\\n$`));
    const down = await home.lms(['daemon', 'down']);
    assert.equal(down.code, 0, down.stderr);
    assert.equal(down.stderr, 'Shutting down lmsd...\nDone.\n');
    assert.deepEqual(daemonsIn(home.home), []);
    const again = await home.lms(['daemon', 'down']);
    assert.equal(again.code, 1);
    assert.equal(again.stderr, 'Daemon is not running.\n');
});

test('daemon up --foreground becomes the daemon', async (t) => {
    const home = makeHome({ models: 'none' });
    t.after(() => home.end());
    const run = home.lms(['daemon', 'up', '--foreground']);
    const other = await home.lms(['daemon', 'up']); // the one waits for the other, whoever comes first
    assert.equal(other.code, 0, other.stderr);
    await until(() => daemonsIn(home.home).length === 1, 'one daemon: the one that came second ends by itself');
    assert.equal((await home.lms(['daemon', 'down'])).code, 0);
    assert.equal((await run).code, 0);
});

test('a daemon that cannot start is told of at once', async (t) => {
    const home = makeHome({ models: 'none' });
    t.after(() => home.end());
    writeJson(home.file('.internal/llmster-install-location.json'), { path: '/bin/false', argv: ['/bin/false'], cwd: '/' });
    const { code, stderr } = await home.lms(['ps'], { timeout: 20_000 });
    assert.equal(code, 1);
    assert.match(stderr, /^Waking up LM Studio service\.\.\.\nError: Failed to start or connect to local LM Studio API server\./);
});

test('--host and --port talk to that server and start nothing', async (t) => {
    const d = await startDaemon({ models: 'none' });
    t.after(() => d.stop());
    const home = makeHome({ models: 'none' });
    t.after(() => home.end());
    for (const [args, env] of [
        [['--port', String(d.port)], {}],
        [['--host', '127.0.0.1', '--port', String(d.port)], {}],
        [['--host', '[127.0.0.1]', '--port', String(d.port)], {}],
        [[], { LMS_HOST: `127.0.0.1:${d.port}` }],
    ]) {
        const { code, stdout, stderr } = await home.lms(['ps', '--json', ...args], { env });
        assert.equal(code, 0, stderr);
        assert.equal(stdout, '[]\n');
    }
    const port = await freePort();
    const dead = await home.lms(['ps', '--port', String(port)]);
    assert.equal(dead.code, 1);
    assert.equal(dead.stderr, `Error: The server does not appear to be running at 127.0.0.1:${port}. ` +
        'Please make sure the server is running and accessible at the specified address.\n');
    assert.deepEqual(programsIn(home.home), []);
});
