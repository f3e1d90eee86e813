// The models folder as lmsd and the real `lms-engine --inspect` see it (spec: disk.md 1-4).  Rules of names and keys: tests/unit.
import assert from 'node:assert/strict';
import { appendFileSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { startDaemon, until, writeJson } from './lib/daemon.mjs';
import { gguf, raw } from './lib/gguf.mjs';
import * as paths from './lib/paths.mjs';

const llama = (more = {}) => gguf({ 'general.architecture': 'llama', 'llama.context_length': 4096, ...more });

/** Writes below the home's models folder, old enough not to be taken for a copy in progress. */
function put(home, name, bytes, { fresh = false, folder = 'models' } = {}) {
    const path = join(home, folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
    const then = Date.now() / 1000 - 100;
    if (!fresh) utimesSync(path, then, then);
    return path;
}

/** A daemon over a home that @fill has filled. */
async function daemonOver(t, fill, options = {}) {
    const home = paths.newFolder('disk');
    t.after(() => rmSync(home, { recursive: true, force: true }));
    fill(home);
    const d = await startDaemon({ models: 'none', home, ...options });
    t.after(() => d.stop());
    return d;
}

async function list(d) {
    const { code, stdout, stderr } = await d.lms(['ls', '--json']);
    assert.equal(code, 0, stdout + stderr);
    return JSON.parse(stdout);
}

const keys = async (d) => (await list(d)).map(({ modelKey }) => modelKey).sort();

/** Waits until the list is @expected: nobody tells the daemon to look. */
async function untilKeys(d, expected) {
    let last;
    await until(async () => JSON.stringify((last = await keys(d))) === JSON.stringify(expected), `${expected} in the list`, 15_000).catch((error) => {
        throw new Error(`${error.message}; it is ${last}`);
    });
}

/** What a request for @model is told. */
async function refusal(d, model) {
    const response = await d.fetch('/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }] }),
    });
    return { status: response.status, ...(await response.json()).error };
}

const memoryOf = (pid, field) => Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;

test('disk-001 with LMS_HOME set, the home pointer is neither read nor made', async (t) => {
    const d = await startDaemon({ models: 'none', http: false });
    t.after(() => d.stop());
    assert.deepEqual(readdirSync(d.env.HOME), []);
    assert.ok(d.exists('.internal/lmsd'));
});

test('disk-002 without it, ~/.cache/lm-studio is chosen, and lmsd writes the pointer', async (t) => {
    const user = paths.newFolder('user');
    t.after(() => rmSync(user, { recursive: true, force: true }));
    mkdirSync(join(user, '.cache/lm-studio'), { recursive: true });
    mkdirSync(join(user, '.lmstudio'));
    const d = await startDaemon({ models: 'none', http: false, home: join(user, '.cache/lm-studio'), env: { HOME: user, LMS_HOME: '' } });
    t.after(() => d.stop());
    assert.equal(readFileSync(join(user, '.lmstudio-home-pointer'), 'utf8'), join(user, '.cache/lm-studio'));
    assert.ok(d.exists('.internal/lmsd'));
    assert.deepEqual(readdirSync(join(user, '.lmstudio')), []);
});

test('disk-006 downloadsFolder moves the models folder without a restart', async (t) => {
    const elsewhere = paths.newFolder('elsewhere');
    t.after(() => rmSync(elsewhere, { recursive: true, force: true }));
    put(elsewhere, 'p/m/there.gguf', llama(), { folder: '.' });
    const d = await daemonOver(t, (home) => put(home, 'p/m/here.gguf', llama()), { http: false });
    assert.deepEqual(await keys(d), ['here']);
    writeJson(d.file('settings.json'), { downloadsFolder: elsewhere });
    await untilKeys(d, ['there']);
    writeJson(d.file('settings.json'), { downloadsFolder: '' });
    await untilKeys(d, ['here']);
});

test('disk-008 what real metadata make of one file', async (t) => {
    const bytes = llama({ 'general.name': 'Tiny Llama', 'general.size_label': '15M', 'general.file_type': 7 });
    const d = await daemonOver(t, (home) => put(home, 'Pub/Model-GGUF/tiny-Q4_K_M.gguf', bytes), { http: false });
    const [model] = await list(d);
    const path = 'Pub/Model-GGUF/tiny-Q4_K_M.gguf';
    const expected = {
        type: 'llm', modelKey: 'tiny', format: 'gguf', displayName: 'Tiny Llama', publisher: 'Pub', path, indexedModelIdentifier: path,
        sizeBytes: bytes.length, paramsString: '15M', architecture: 'llama', quantization: { name: 'Q4_K_M', bits: 4 }, maxContextLength: 4096,
        vision: false, trainedForToolUse: false,
    };
    for (const [member, value] of Object.entries(expected)) assert.deepEqual(model[member], value, member);
});

test('disk-011 real metadata make an embedding model', async (t) => {
    const d = await daemonOver(
        t,
        (home) => {
            put(home, 'p/m/nomic-Q8_0.gguf', gguf({ 'general.architecture': 'nomic-bert', 'nomic-bert.context_length': 512 }));
            put(home, 'p/m/qwen-embed.gguf', gguf({ 'general.architecture': 'qwen3', 'qwen3.pooling_type': 3 }));
            put(home, 'p/m/chat.gguf', gguf({ 'general.architecture': 'qwen3', 'qwen3.pooling_type': 0 }));
        },
        { http: false },
    );
    assert.deepEqual(await keys(d), ['chat', 'text-embedding-nomic', 'text-embedding-qwen-embed']);
});

test('disk-012 parts of a split model, with real metadata', async (t) => {
    const part = (no, count, more = {}) => gguf({ 'split.no': no, 'split.count': count, 'split.tensors.count': 3, ...more });
    const first = part(0, 3, { 'general.architecture': 'llama' });
    const d = await daemonOver(t, (home) => {
        put(home, 'p/m/x-00001-of-00003.gguf', first);
        put(home, 'p/m/x-00002-of-00003.gguf', part(1, 3));
        put(home, 'p/m/x-00003-of-00003.gguf', part(2, 3));
        put(home, 'p/n/y-00001-of-00002.gguf', part(0, 2, { 'general.architecture': 'llama' }));
    });
    const [model, ...others] = await list(d);
    assert.deepEqual(others, []);
    assert.equal(model.path, 'p/m/x-00001-of-00003.gguf');
    assert.equal(model.sizeBytes, first.length + 2 * part(1, 3).length);
    const { status, message } = await refusal(d, 'y');
    assert.equal(status, 400);
    assert.match(message, /part 2 of 2 is missing/);
});

test('disk-013 a projector with real metadata', async (t) => {
    const projector = gguf({ 'general.architecture': 'clip', 'general.type': 'mmproj', 'clip.has_vision_encoder': true });
    const d = await daemonOver(
        t,
        (home) => {
            put(home, 'p/m/x-Q4_K_M.gguf', llama());
            put(home, 'p/m/sees.gguf', projector); // known by its metadata alone
        },
        { http: false },
    );
    const [model, ...others] = await list(d);
    assert.deepEqual(others, []);
    assert.equal(model.vision, true);
    assert.equal(model.sizeBytes, llama().length + projector.length);
});

test('disk-016 a text file named x.gguf is bad by name, and the daemon goes on', async (t) => {
    const d = await daemonOver(t, (home) => {
        put(home, 'p/m/x.gguf', 'Not a model, just a text.\n');
        put(home, 'p/m/empty.gguf', '');
        put(home, 'p/m/short.gguf', llama().subarray(0, 40));
        put(home, 'p/m/cut.gguf', gguf({ 'general.architecture': 'llama' }, { data: 64 }));
        put(home, 'p/m/old.gguf', raw().magic().u32(1).u64(0).u64(0).get());
        put(home, 'p/m/good.gguf', llama());
    });
    assert.deepEqual(await keys(d), ['good']);
    for (const [name, pattern] of [['x', /not a GGUF file/], ['p/m/x.gguf', /not a GGUF file/], ['empty', /empty/], ['short', /.+/], ['cut', /cut off/], ['old', /version 1/]]) {
        const { status, code, message } = await refusal(d, name);
        assert.equal(status, 400, name);
        assert.equal(code, 'model_load_failed');
        assert.match(message, pattern, name);
    }
    assert.equal(d.stderr().match(/Model file p\/m\/x\.gguf: not a GGUF file/g).length, 1); // logged, once
    assert.ok(!JSON.stringify(await (await d.fetch('/v1/models')).json()).includes('cut'));
});

// Heads that promise what no file holds: their bytes behind "GGUF" and version 3.
const huge = 1n << 60n;
const hostile = {
    'many-pairs': raw().u64(0).u64(huge),
    'many-tensors': raw().u64(huge).u64(0),
    'all-ones': raw().u64(2n ** 64n - 1n).u64(2n ** 64n - 1n),
    'long-key': raw().u64(0).u64(1).u64(huge),
    'endless-key': raw().u64(0).u64(1).u64(2n ** 64n - 1n),
    'long-string': raw().u64(0).u64(1).string('general.name').u32(8).u64(huge),
    'long-array': raw().u64(0).u64(1).string('tokenizer.ggml.tokens').u32(9).u32(8).u64(huge),
    'long-numbers': raw().u64(0).u64(1).string('x').u32(9).u32(12).u64(2n ** 61n),
    'array-of-arrays': raw().u64(0).u64(1).string('x').u32(9).u32(9).u64(4),
    'no-type': raw().u64(0).u64(1).string('x').u32(99),
    'negative-type': raw().u64(0).u64(1).string('x').u32(0xffffffff),
    'wide-tensor': raw().u64(1).u64(0).string('t').u32(4).u64(huge).u64(huge).u64(huge).u64(huge).u32(0).u64(0),
    'many-dimensions': raw().u64(1).u64(0).string('t').u32(4_000_000_000),
    'far-tensor': raw().u64(1).u64(0).string('t').u32(1).u64(32).u32(0).u64(huge),
    'strange-kind': raw().u64(1).u64(0).string('t').u32(1).u64(32).u32(4096).u64(0),
    'zero-tensor': raw().u64(1).u64(0).string('t').u32(1).u64(0).u32(0).u64(0),
    'no-alignment': raw().u64(1).u64(1).string('general.alignment').u32(4).u32(0).string('t').u32(1).u64(32).u32(0).u64(0),
    'wrong-kinds': raw().u64(0).u64(2).string('general.architecture').u32(4).u32(7).string('split.count').u32(8).string('many'),
};

test('disk-017 absurd lengths end in bad, and no memory of the daemon grows with them', async (t) => {
    const d = await daemonOver(t, (home) => put(home, 'p/m/good.gguf', llama()));
    assert.deepEqual(await keys(d), ['good']);
    const before = memoryOf(d.pid, 'VmHWM');
    for (const [name, head] of Object.entries(hostile))
        put(d.home, `evil/m/${name}.gguf`, Buffer.concat([raw().magic().u32(3).get(), head.get()]));
    await until(() => Object.keys(hostile).every((name) => d.stderr().includes(`Model file evil/m/${name}.gguf`)), 'every reason in the log', 30_000);
    assert.deepEqual(await keys(d), ['good']);
    assert.ok(memoryOf(d.pid, 'VmHWM') - before < 64, `grew by ${memoryOf(d.pid, 'VmHWM') - before} MiB`);
    for (const name of Object.keys(hostile)) {
        const { status, message } = await refusal(d, name);
        assert.equal(status, 400, name);
        assert.match(message, /cannot be loaded: .{5}/, name);
    }
});

test('disk-017 every cut and many a flipped bit of a real model leave the daemon standing', async (t) => {
    const whole = readFileSync(paths.demoModel);
    const d = await daemonOver(t, (home) => put(home, 'p/m/good.gguf', llama()));
    let seed = 12345; // the same bits each time
    const random = (n) => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % n;
    const names = [];
    for (let i = 0; i < 60; i++) {
        const bytes = Buffer.from(whole.subarray(0, i % 2 ? whole.length : 24 + random(60_000)));
        if (i % 2) for (let k = 0; k < 8; k++) bytes[4 + random(i < 30 ? 400 : 40_000)] ^= 1 << random(8);
        names.push(`evil/m/x${i}.gguf`);
        put(d.home, names.at(-1), bytes);
    }
    const index = () => d.json('.internal/lmsd/index.json')?.files ?? {};
    await until(() => names.every((name) => index()[join(d.home, 'models', name)]), 'an answer about every file', 60_000);
    const answers = names.map((name) => index()[join(d.home, 'models', name)].answer);
    assert.ok(answers.every((answer) => answer.ok || answer.reason.length > 0));
    assert.ok(answers.filter((_, i) => i % 2 === 0).every((answer) => !answer.ok)); // what is cut is refused
    assert.ok((await keys(d)).includes('good'));
});

test('disk-018 cycles, disk-019 twins, disk-015 unfinished files', async (t) => {
    const d = await daemonOver(
        t,
        (home) => {
            const file = put(home, 'p/m/x.gguf', llama());
            linkSync(file, join(home, 'models/p/m/y.gguf'));
            symlinkSync('..', join(home, 'models/p/m/round'));
            put(home, 'p/m/downloading_z.gguf.part', llama());
        },
        { http: false },
    );
    assert.equal((await list(d)).length, 1);
    assert.match(d.stderr(), /p\/m\/round: a symbolic link to a folder that it lies in: a cycle/);
});

test('disk-022 a file being copied in is not called broken while it grows', async (t) => {
    const bytes = readFileSync(paths.demoModel);
    const d = await daemonOver(t, () => {});
    assert.deepEqual(await keys(d), []);
    const path = put(d.home, 'p/m/slow.gguf', bytes.subarray(0, 1000), { fresh: true });
    const step = Math.ceil(bytes.length / 8);
    for (let at = 1000; at < bytes.length; at += step) {
        appendFileSync(path, bytes.subarray(at, at + step)); // each closes the file: each wakes the daemon
        await new Promise((resolve) => setTimeout(resolve, 400));
    }
    await untilKeys(d, ['slow']);
    assert.doesNotMatch(d.stderr(), /slow\.gguf/);
});

test('disk-023 a restart asks about nothing that it knows', async (t) => {
    const home = paths.newFolder('disk');
    t.after(() => rmSync(home, { recursive: true, force: true }));
    for (let i = 0; i < 100; i++) put(home, `p/m${i % 7}/x${i}.gguf`, llama());
    const engines = join(home, 'asked');
    const script = join(home, 'engine.sh'); // notes that it was asked, then is the real engine
    writeFileSync(script, `#!/bin/sh\n[ "$1" = --inspect ] && echo asked >> '${engines}'\nexec '${paths.lmsEngine}' "$@"\n`, { mode: 0o755 });
    const asked = () => (readdirSync(home).includes('asked') ? readFileSync(engines, 'utf8').split('\n').length - 1 : 0);
    for (const [turn, expected] of [[1, 2], [2, 2]]) {
        const d = await startDaemon({ home, http: false, env: { LMS_ENGINE: script } });
        try {
            assert.equal((await list(d)).length, 100);
            assert.equal(asked(), expected, `start ${turn}`); // two children, 50 files each, once
        } finally {
            await d.stop();
        }
    }
    truncateSync(engines);
});

test('files that come, change, move and go are seen', async (t) => {
    const d = await daemonOver(t, (home) => put(home, 'p/m/x.gguf', llama()), { http: false });
    assert.deepEqual(await keys(d), ['x']);
    put(d.home, 'p/m/y-Q4_0.gguf', llama());
    await untilKeys(d, ['x', 'y']);
    put(d.home, 'p/m/y-Q8_0.gguf', llama());
    await untilKeys(d, ['x', 'y@q4_0', 'y@q8_0']);
    renameSync(d.file('models/p/m/x.gguf'), d.file('models/p/m/z.gguf'));
    await untilKeys(d, ['y@q4_0', 'y@q8_0', 'z']);
    rmSync(d.file('models/p'), { recursive: true });
    await untilKeys(d, []);
});
