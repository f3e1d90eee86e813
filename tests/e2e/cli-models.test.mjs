// lms ls, ps, load, unload against the real daemon and the demo models.
import assert from 'node:assert/strict';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { runProgram, startDaemon, until, writeJson } from './lib/daemon.mjs';
import * as paths from './lib/paths.mjs';

/** A daemon that ends with the test. */
async function daemon(t, options = {}) {
    const d = await startDaemon({ http: false, ...options });
    t.after(() => d.stop());
    return d;
}

async function ok(d, ...args) {
    const result = await d.lms(args);
    assert.equal(result.code, 0, `lms ${args.join(' ')}: ${result.stdout}${result.stderr}`);
    return result;
}

async function refused(d, ...args) {
    const result = await d.lms(args);
    assert.equal(result.code, 1, `lms ${args.join(' ')}: ${result.stdout}${result.stderr}`);
    return result;
}

const json = async (d, ...args) => JSON.parse((await ok(d, ...args, '--json')).stdout);
const identifiers = async (d) => (await json(d, 'ps')).map((model) => model.identifier).sort();

test('cli-015 ls --json is one array and nothing else', async (t) => {
    const d = await daemon(t);
    const { stdout } = await ok(d, 'ls', '--json');
    assert.match(stdout, /^\[\{.*\}\]\n$/);
    const models = JSON.parse(stdout);
    assert.deepEqual(models.map(({ modelKey }) => modelKey).sort(), ['atelier-demo', 'atelier-demo-draft', 'text-embedding-atelier-demo-embed']);
    assert.ok(models.every(({ deviceIdentifier }) => deviceIdentifier === null));
    const cut = await runProgram('sh', ['-c', `"${paths.lms}" ls --json | head -c1`], { env: d.env });
    assert.equal(cut.stdout, '[');
    assert.equal(cut.stderr, '');
});

test('cli-016 an empty folder', async (t) => {
    const d = await daemon(t, { models: 'none' });
    assert.equal((await ok(d, 'ls', '--json')).stdout, '[]\n');
    assert.equal((await ok(d, 'ls')).stdout, 'You have not downloaded any models yet.\n');
    const { stdout } = await d.lms(['ls'], { env: { NO_COLOR: '', FORCE_COLOR: '1' } });
    assert.equal(stdout, '\x1b[31mYou have not downloaded any models yet.\x1b[0m\n');
});

test('cli-017 a key and --variants do not go together', async (t) => {
    const d = await daemon(t);
    assert.equal((await refused(d, 'ls', 'atelier-demo', '--variants')).stderr, 'Error: Cannot combine a model key argument with --variants.\n');
    assert.match((await ok(d, 'ls', 'atelier-demo')).stdout, /^\nListing variants for atelier-demo:\n\nLLM /);
    assert.match((await refused(d, 'ls', 'nosuch')).stderr, /^Error: Cannot find a model with path "nosuch"\./);
});

test('cli-018 --detailed warns and changes nothing', async (t) => {
    const d = await daemon(t);
    const plain = await ok(d, 'ls');
    const detailed = await ok(d, 'ls', '--detailed');
    assert.equal(plain.stderr, '');
    assert.equal(detailed.stdout, plain.stdout);
    assert.equal(detailed.stderr, "W The '--detailed' flag is deprecated. Output is the same as 'lms ls'\n");
});

test('cli-019 ls sorts by key and counts what is loaded', async (t) => {
    const d = await daemon(t);
    await ok(d, 'load', 'atelier-demo', '-y');
    await ok(d, 'load', 'atelier-demo', '-y');
    const { stdout } = await ok(d, 'ls');
    assert.match(stdout, /^\nYou have 3 models, taking up \d+\.\d\d MB of disk space\.\n\nLLM +PARAMS +ARCH +SIZE +DEVICE\n/);
    assert.match(stdout, /^atelier-demo {2}.*Local +✓ LOADED \(2\)$/m);
    assert.ok(stdout.indexOf('\natelier-demo ') < stdout.indexOf('\natelier-demo-draft '));
    assert.match(stdout, /\n\nEMBEDDING +PARAMS +ARCH +SIZE +DEVICE\ntext-embedding-atelier-demo-embed .*Local\n\n$/);
    assert.doesNotMatch(stdout, / $/m);
    assert.doesNotMatch((await ok(d, 'ls', '--llm')).stdout, /EMBEDDING/);
    assert.doesNotMatch((await ok(d, 'ls', '--embedding')).stdout, /^LLM/m);
});

test('cli-020 ps --json', async (t) => {
    const d = await daemon(t);
    await ok(d, 'load', 'atelier-demo', '-y', '--ttl', '600', '-c', '512', '--parallel', '2');
    await ok(d, 'load', 'text-embedding-atelier-demo-embed', '-y');
    const [llm, embedding, ...more] = await json(d, 'ps');
    assert.equal(more.length, 0);
    for (const model of [llm, embedding]) {
        assert.equal('instanceReference' in model, false);
        assert.equal(model.status, 'idle');
        assert.equal(model.queued, 0);
        assert.equal(model.lastUsedTime, null);
        assert.equal(model.deviceIdentifier, null);
    }
    assert.deepEqual([llm.type, llm.identifier, llm.parallel, llm.ttlMs, llm.contextLength], ['llm', 'atelier-demo', 2, 600000, 512]);
    assert.deepEqual([embedding.type, embedding.parallel, embedding.ttlMs], ['embedding', null, null]);
});

test('cli-021 ps with nothing loaded', async (t) => {
    const d = await daemon(t);
    const { stdout, stderr } = await ok(d, 'ps');
    assert.equal(stdout, '');
    assert.match(stderr, /^No models are currently loaded\.\n[^]*lms load <model path>/);
    assert.equal((await ok(d, 'ps', '--json')).stdout, '[]\n');
});

test('cli-022 the table is in capitals', async (t) => {
    const d = await daemon(t);
    await ok(d, 'load', 'text-embedding-atelier-demo-embed', '-y');
    await ok(d, 'load', 'atelier-demo', '-y', '--ttl', '3600', '-c', '512');
    const { stdout } = await ok(d, 'ps');
    const lines = stdout.split('\n');
    assert.match(lines[1], /^IDENTIFIER +MODEL +STATUS +SIZE +CONTEXT +PARALLEL +DEVICE +TTL$/);
    assert.match(lines[2], /^atelier-demo +atelier-demo +IDLE +\d+\.\d\d MB +512 +4 +Local +1h \/ 1h$/);
    assert.match(lines[3], /^text-embedding-atelier-demo-embed +text-embedding-atelier-demo-embed +IDLE +\d+\.\d\d [KM]B +\d+ +- +Local$/);
    assert.deepEqual([lines[0], ...lines.slice(4)], ['', '', '']);
});

test('cli-023 an exact key is loaded though longer keys match', async (t) => {
    const d = await daemon(t);
    for (const args of [['-y'], []]) // and without -y nobody is asked, nor warned
        assert.match((await ok(d, 'load', 'atelier-demo', ...args)).stderr, /^Model loaded successfully/);
    assert.deepEqual(await identifiers(d), ['atelier-demo', 'atelier-demo:2']);
    const { stderr } = await ok(d, 'load', 'atelier-dem', '-y');
    assert.match(stderr, /^W \d models match the provided model key on the same device\. Loading the first one\.\n/);
});

test('cli-024 loading twice makes key and key:2', async (t) => {
    const d = await daemon(t);
    const first = await ok(d, 'load', 'atelier-demo', '-y');
    assert.equal(first.stdout, '');
    assert.match(first.stderr, /^Model loaded successfully in \d+\.\d\d(ms|s)\.\n\(\d+\.\d\d MiB\)\nTo use the model in the API\/SDK, use the identifier "atelier-demo"\.\n$/);
    assert.match((await ok(d, 'load', 'atelier-demo', '-y')).stderr, /use the identifier "atelier-demo:2"/);
    assert.deepEqual(await identifiers(d), ['atelier-demo', 'atelier-demo:2']);
    await ok(d, 'load', 'atelier-demo', '-y', '--identifier', 'mine');
    assert.match((await refused(d, 'load', 'atelier-demo', '-y', '--identifier', 'mine')).stderr, /^Error: .*mine/);
    assert.equal((await ok(d, 'load', 'atelier-demo', '-y', '--quiet')).stderr, '');
});

test('cli-025 no such model', async (t) => {
    const d = await daemon(t);
    const { stdout, stderr } = await refused(d, 'load', 'nosuch', '-y');
    assert.equal(stdout, '');
    assert.match(stderr, /^Error: Model not found\n\n {2}No model found that matches model key "nosuch"\./);
    assert.match((await refused(d, 'load', '--exact')).stderr, /^Error: Path not provided\n/);
    assert.match((await refused(d, 'load', '--exact', 'atelier')).stderr, /^Error: Model not found\n[^]*lms load --exact atelier\/demo/);
    await ok(d, 'load', '--exact', 'atelier/demo/atelier-demo.gguf');
});

test('cli-026 load without argument and terminal', async (t) => {
    const d = await daemon(t);
    for (const args of [['load'], ['load', 'atelier']])
        assert.match((await refused(d, ...args)).stderr, /^Error: This needs an answer, and there is no terminal\. Pass .*\n$/);
    assert.deepEqual(await identifiers(d), []);
    await ok(d, 'load', '-y');
    assert.equal((await identifiers(d)).length, 1);
});

test('cli-032 the last loaded models are remembered', async (t) => {
    const d = await daemon(t);
    writeJson(d.file('.internal/cli-pref.json'), { autoStartServer: true, lastLoadedModels: ['old', 'atelier-demo', ...Array.from({ length: 30 }, (_, i) => `m${i}`)] });
    await ok(d, 'load', 'atelier-demo', '-y');
    await ok(d, 'load', 'atelier-demo-draft', '-y');
    const pref = d.json('.internal/cli-pref.json');
    assert.equal(pref.autoStartServer, true);
    assert.deepEqual(pref.lastLoadedModels.slice(0, 4), ['atelier-demo-draft', 'atelier-demo', 'old', 'm0']);
    assert.equal(pref.lastLoadedModels.length, 20);
    await ok(d, 'load', '-y'); // without an argument: the one loaded last
    assert.deepEqual(await identifiers(d), ['atelier-demo', 'atelier-demo-draft', 'atelier-demo-draft:2']);
    await ok(d, 'load', '--exact', 'atelier-demo');
    assert.equal(d.json('.internal/cli-pref.json').lastLoadedModels[0], 'atelier-demo-draft');
});

const slowLoad = { load: [{ progress: 0 }, { progress: 0.4 }, { wait_ms: 120_000 }, { progress: 1 }, { ready: {} }] };

test('cli-033 Ctrl-C during a load exits 1 and the model is not loaded', async (t) => {
    const d = await daemon(t, { fake: slowLoad });
    const { code, stderr } = await d.lms(['load', 'atelier-demo', '-y'], {
        onStart: (child) => until(() => /Loading model/.test(d.stderr()), 'the load').then(() => child.kill('SIGINT')),
    });
    assert.equal(code, 1);
    assert.equal(stderr, 'W Load cancelled.\n');
    assert.deepEqual(await identifiers(d), []);
    await until(() => d.engines().length === 0, 'end of its engine');
});

test('kill -9 of lms in a load leaves the daemon well', async (t) => {
    const d = await daemon(t, { fake: slowLoad });
    const { signal } = await d.lms(['load', 'atelier-demo', '-y'], {
        onStart: (child) => until(() => /Loading model/.test(d.stderr()), 'the load').then(() => child.kill('SIGKILL')),
    });
    assert.equal(signal, 'SIGKILL');
    await until(() => d.engines().length === 0, 'end of its engine');
    assert.deepEqual(await identifiers(d), []);
});

test('cli-035 unload the only one', async (t) => {
    const d = await daemon(t);
    assert.equal((await refused(d, 'unload')).stderr, 'Error: You don\'t have any models loaded. Use "lms load" to load a model.\n');
    await ok(d, 'load', 'text-embedding-atelier-demo-embed', '-y');
    assert.equal((await ok(d, 'unload')).stderr, 'Model "text-embedding-atelier-demo-embed" unloaded.\n');
    assert.deepEqual(await identifiers(d), []);
});

test('cli-036 unload what is not there', async (t) => {
    const d = await daemon(t);
    await ok(d, 'load', 'atelier-demo', '-y');
    assert.match((await refused(d, 'unload', 'nosuch')).stderr,
        /^Error: Model Not Found\n\n {2}Cannot find a model with the identifier "nosuch"\.\n[^]*lms ps/);
    assert.match((await refused(d, 'unload', 'atelier-demo', '--all')).stderr,
        /^Error: Invalid Usage\n\n {2}You cannot provide \[path\] when the flag --all is set\.\n/);
    assert.equal((await ok(d, 'unload', 'atelier-demo')).stderr, 'Model "atelier-demo" unloaded.\n');
});

test('cli-037 unload --all', async (t) => {
    const d = await daemon(t);
    assert.equal((await ok(d, 'unload', '--all')).stderr, 'No models to unload.\n');
    await ok(d, 'load', 'atelier-demo', '-y');
    await ok(d, 'load', 'text-embedding-atelier-demo-embed', '-y');
    assert.match((await refused(d, 'unload')).stderr, /there is no terminal\. Pass the identifier of a model, or --all\.\n$/);
    const { stderr } = await ok(d, 'unload', '-a');
    assert.equal(stderr, 'Unloading "atelier-demo"...\nUnloading "text-embedding-atelier-demo-embed"...\nUnloaded 2 models.\n');
    assert.deepEqual(await identifiers(d), []);
});

test('cli-074 no escape sequence without a terminal, or with NO_COLOR', async (t) => {
    const d = await daemon(t);
    await ok(d, 'load', 'atelier-demo', '-y', '--ttl', '60');
    for (const args of [['ps'], ['ls'], ['status'], ['unload', 'nosuch'], ['--help'], ['ps', '--json']]) {
        const piped = await d.lms(args, { env: { NO_COLOR: '' } });
        assert.doesNotMatch(piped.stdout + piped.stderr, /\x1b/);
        const forced = await d.lms(args, { env: { NO_COLOR: '', FORCE_COLOR: '1' } });
        if (!args.includes('--json')) assert.match(forced.stdout + forced.stderr, /\x1b\[/);
        else assert.doesNotMatch(forced.stdout, /\x1b/);
        const shown = await runProgram(join(paths.build, 'tests/tools/pty'), ['40', '120', paths.lms, ...args], { env: d.env }); // NO_COLOR=1
        assert.doesNotMatch(shown.stdout, /\x1b/);
    }
});

test('cli-075 ps --json, ls and ls --json open one connection', async (t) => {
    const d = await daemon(t);
    let connections = 0;
    const counter = createServer((near) => {
        connections++;
        const far = createConnection(d.localPort, '127.0.0.1');
        near.pipe(far).pipe(near);
        for (const socket of [near, far]) socket.on('error', () => {});
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => counter.once('listening', resolve));
    t.after(() => counter.close());
    const info = d.json('.internal/http-server.json');
    writeJson(d.file('.internal/http-server.json'), { ...info, port: counter.address().port });
    for (const args of [['ps', '--json'], ['ps'], ['ls', '--json'], ['ls']]) {
        connections = 0;
        await ok(d, ...args);
        assert.equal(connections, 1, `lms ${args.join(' ')}`);
    }
    writeJson(d.file('.internal/http-server.json'), info);
});
