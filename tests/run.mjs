// run.mjs: runs every test program, counts, and says so on the last line: "N passed, N failed".
//
// Unit: the programs that meson knows (suite "unit"), which print TAP.  End to end: tests/e2e/*.test.mjs under node:test, two files at
// a time; files named *.alone.test.mjs (they take well-known ports) one after the other at the end, where the system allows it in a
// network of their own, so that a server of the user's is in nobody's way.  Lint, when asked for, is one test.
// The count is honest: a crash, a time-out, a bail-out, a plan that does not match, a file or program without a test are failures too.
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { run } from 'node:test';
import { build, root } from './e2e/lib/paths.mjs';
import { checkForReports, sanitizerEnv } from './e2e/lib/sanitizer.mjs';

const UNIT_MS = 180_000, FILE_MS = 240_000, AT_ONCE = 2;
const count = { passed: 0, failed: 0, skipped: 0 };
const began = Date.now();

/** A line now and then, so that a log shows where a run is. */
const progress = (what) => console.log(`${String(Math.round((Date.now() - began) / 1000)).padStart(4)} s  ${what}`);

function pass(name, ms) {
    count.passed++;
    if (process.stdout.isTTY || process.env.VERBOSE) console.log(`ok      ${name}${ms > 1000 ? ` (${(ms / 1000).toFixed(1)} s)` : ''}`);
}
function fail(name, why) {
    count.failed++;
    console.log(`FAILED  ${name}`);
    if (why) console.log(String(why).trimEnd().replace(/^/gm, '        '));
}
function skip(name, why) {
    count.skipped++;
    console.log(`skipped ${name}${typeof why === 'string' && why ? `: ${why}` : ''}`);
}

// --- unit -------------------------------------------------------------------------------------------------------------------------

/** Reads TAP 12 as GTest prints it; indented lines and comments are detail. */
export function readTap(text) {
    const tests = [];
    let plan, bailOut;
    for (const line of text.split('\n')) {
        const test = /^(not )?ok\b\s*\d*\s*-?\s*(.*?)(?:\s+#\s*(SKIP|TODO)\b\s*(.*))?$/i.exec(line);
        if (test) tests.push({ ok: !test[1], name: test[2], skip: /^skip$/i.test(test[3] ?? '') ? test[4] || 'skipped' : undefined });
        else if (/^1\.\.\d+/.test(line)) plan = Number(/^1\.\.(\d+)/.exec(line)[1]);
        else if (/^Bail out!/.test(line)) bailOut = line;
    }
    return { tests, plan, bailOut };
}

function runUnit({ name, cmd, env, workdir }) {
    return new Promise((resolve) => {
        const child = spawn(cmd[0], cmd.slice(1), { cwd: workdir ?? build, env: { ...process.env, ...sanitizerEnv, ...env } });
        let out = '', err = '', late = false;
        const timer = setTimeout(() => (late = child.kill('SIGKILL')), UNIT_MS);
        child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
        child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
        child.on('error', (error) => (err += error.message));
        child.on('close', (code, signal) => {
            clearTimeout(timer);
            const { tests, plan, bailOut } = readTap(out);
            for (const test of tests) {
                const full = `${name} ${test.name}`;
                if (!test.ok) fail(full);
                else if (test.skip) skip(full, test.skip);
                else pass(full);
            }
            const failed = tests.some((test) => !test.ok);
            const detail = `${out.slice(-1500)}\n${err.slice(-4000)}`;
            if (late) fail(name, `not done within ${UNIT_MS} ms\n${detail}`);
            else if (bailOut) fail(name, `${bailOut}\n${detail}`);
            else if (signal) fail(name, `ended by ${signal}\n${detail}`);
            else if (code !== 0 && !failed) fail(name, `ended with status ${code}\n${detail}`);
            else if (failed) console.log(detail.replace(/^/gm, '        '));
            else if (tests.length === 0) fail(name, `no test ran\n${detail}`);
            else if (plan !== tests.length) fail(name, `planned ${plan} tests, ran ${tests.length}\n${detail}`);
            else
                try {
                    checkForReports(name, err);
                } catch (error) {
                    fail(name, error.message);
                }
            progress(name);
            resolve();
        });
    });
}

async function unit(wanted) {
    const meson = spawnSync('meson', ['introspect', '--tests', build], { encoding: 'utf8' });
    if (meson.status !== 0) return fail('meson introspect --tests', meson.stdout + meson.stderr);
    const programs = JSON.parse(meson.stdout).filter((test) => test.suite.some((suite) => /\bunit$/.test(suite)) && wanted(test.name));
    const next = () => (programs.length ? runUnit(programs.shift()).then(next) : undefined);
    await Promise.all(Array.from({ length: AT_ONCE }, next));
}

function lint() {
    const { status, stdout, stderr } = spawnSync(join(root, 'dev'), ['lint'], { encoding: 'utf8' });
    if (status === 0) pass('lint');
    else fail('lint', (stdout + stderr).slice(-8000));
}

// --- end to end -------------------------------------------------------------------------------------------------------------------

function describe(error) {
    const cause = error?.cause ?? error;
    const text = cause?.stack ?? cause?.message ?? String(cause);
    return text.split('\n').filter((line) => !/node:internal/.test(line)).slice(0, 40).join('\n');
}

async function endToEnd(files, concurrency) {
    const ran = new Map(files.map((file) => [file, 0]));
    const said = new Map(), bad = new Set();
    const isFile = (data) => data.nesting === 0 && files.some((file) => file === data.name || relative(root, file) === data.name || file.endsWith(`/${data.name}`));
    const stream = run({ files, concurrency, timeout: FILE_MS, cwd: root });
    stream.on('test:stderr', ({ file, message }) => said.set(file, ((said.get(file) ?? '') + message).slice(-6000)));
    stream.on('test:complete', (data) => isFile(data) && progress(basename(data.name)));
    stream.on('test:pass', (data) => {
        if (isFile(data) || data.details?.type === 'suite') return;
        ran.set(data.file, (ran.get(data.file) ?? 0) + 1);
        if (data.skip !== undefined && data.skip !== false) skip(data.name, data.skip);
        else if (data.todo !== undefined && data.todo !== false) fail(data.name, 'still to be written');
        else pass(data.name, data.details?.duration_ms);
    });
    stream.on('test:fail', (data) => {
        // A suite fails because of a test in it, and a file too: those are counted already.
        const code = data.details?.error?.failureType;
        if (code === 'subtestsFailed') return;
        ran.set(data.file, (ran.get(data.file) ?? 0) + 1);
        bad.add(data.file);
        fail(isFile(data) ? relative(root, data.file ?? data.name) : `${data.name}  (${basename(data.file ?? '')})`, describe(data.details?.error));
    });
    for await (const _ of stream);
    for (const [file, n] of ran) if (n === 0) fail(relative(root, file), 'no test ran');
    for (const [file, text] of said)
        if (bad.has(file) && text.trim()) console.log(`--- ${basename(file)} wrote on standard error:\n${text.trimEnd()}`);
}

// Words before a command that give it a network with nothing but a loopback of its own; none where that is not allowed.
function ownNetwork() {
    const up = "import fcntl, os, socket, struct, sys; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh22x', b'lo', 0x49)); os.execvp(sys.argv[1], sys.argv[1:])";
    const words = ['unshare', process.getuid() === 0 ? '-n' : '-rn', 'python3', '-c', up];
    return spawnSync(words[0], [...words.slice(1), 'true']).status === 0 ? words : [];
}

// The *.alone.test.mjs files: this program once more, in that network.
async function alone(names) {
    const [program, ...args] = [...ownNetwork(), process.execPath, join(root, 'tests/run.mjs'), '--alone', ...names];
    const { stdout, status } = spawnSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 26 });
    const found = /^(\d+) passed, (\d+) failed$/m.exec(stdout);
    process.stdout.write(found ? stdout.slice(0, found.index) : stdout);
    if (!found) return fail('the files that run alone', `ended with ${status}`);
    count.passed += Number(found[1]);
    count.failed += Number(found[2]);
}

// ----------------------------------------------------------------------------------------------------------------------------------

const inAlone = process.argv[2] === '--alone';
const words = process.argv.slice(inAlone ? 3 : 2);
const kinds = words.filter((word) => ['unit', 'e2e', 'lint'].includes(word));
const names = words.filter((word) => !kinds.includes(word));
const wanted = (name) => names.length === 0 || names.some((word) => name.includes(word));
const asked = (kind) => (kinds.length === 0 ? kind !== 'lint' : kinds.includes(kind));

const folder = join(root, 'tests/e2e');
const files = readdirSync(folder).filter((name) => name.endsWith('.test.mjs') && wanted(name)).sort();
const chosen = (isAlone) => files.filter((name) => name.includes('.alone.') === isAlone).map((name) => join(folder, name));

if (inAlone) {
    await endToEnd(chosen(true), 1);
} else {
    if (asked('lint')) lint();
    if (asked('unit')) await unit(wanted);
    if (asked('e2e') && chosen(false).length) await endToEnd(chosen(false), AT_ONCE);
    if (asked('e2e') && chosen(true).length) await alone(names);
}
if (count.passed + count.failed === 0) fail('the run', `no test matches ${names.join(' ') || kinds.join(' ')}`);
if (count.skipped) console.log(`${count.skipped} skipped`);
console.log(`${count.passed} passed, ${count.failed} failed`);
process.exitCode = count.failed ? 1 : 0;
