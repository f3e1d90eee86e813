// lms without a daemon: words, help, mistakes.  None of these may look for one.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeHome, programsIn, runProgram } from './lib/daemon.mjs';
import * as paths from './lib/paths.mjs';

const home = makeHome({ models: 'none' });
after(() => home.end());

/** Runs lms and checks its code. */
async function lms(code, ...args) {
    const result = await home.lms(args);
    assert.equal(result.code, code, `lms ${args.join(' ')}: ${result.stdout}${result.stderr}`);
    return result;
}

test('cli-001 lms alone prints the two version lines, then the root help', async () => {
    const { stdout, stderr } = await lms(0);
    assert.equal(stdout, '');
    assert.match(stderr, /^lms is .*\nCLI commit: \w+\n\nUsage: lms \[options\] \[command\]\n/);
    const help = await lms(0, '--help');
    assert.equal(help.stderr, '');
    assert.equal(help.stdout, stderr.slice(stderr.indexOf('Usage:')));
    for (const name of ['chat', 'load', 'unload', 'ls', 'ps', 'server', 'log', 'daemon', 'status', 'version'])
        assert.match(help.stdout, new RegExp(`^ ${name} {10,}\\S`, 'm'));
    assert.doesNotMatch(help.stdout, /flags|bootstrap|--help/);
});

test('cli-002 -v anywhere prints the commit and touches no daemon', async () => {
    for (const args of [['-v'], ['load', 'x', '-v'], ['--version', 'bogus'], ['server', 'start', '-v']]) {
        const { stdout, stderr } = await lms(0, ...args);
        assert.match(stdout, /^CLI commit: \w+\n$/);
        assert.equal(stderr, '');
    }
    assert.deepEqual(programsIn(home.home), []);
});

test('cli-003 unknown options and commands', async () => {
    assert.equal((await lms(1, '--bogus')).stderr, "error: unknown option '--bogus'\n");
    assert.equal((await lms(1, 'bogus')).stderr, "error: unknown command 'bogus'\n");
});

test('cli-004 a slip of the finger is understood', async () => {
    assert.equal((await lms(1, 'sever')).stderr, "error: unknown command 'sever'\n(Did you mean server?)\n");
});

test('cli-005 too many arguments', async () => {
    const { stderr } = await lms(1, 'ps', 'extra');
    assert.equal(stderr, "error: too many arguments for 'ps'. Expected 0 arguments but got 1.\n");
});

test('cli-007 one log flag at most', async () => {
    for (const flags of [['--quiet', '--verbose'], ['--verbose', '--log-level', 'info']]) {
        const { stderr } = await lms(1, 'ls', ...flags);
        assert.equal(stderr, 'Only one of --logLevel, --verbose, or --quiet can be specified.\n');
    }
});

test('cli-008 --host with protocol or port', async () => {
    assert.equal((await lms(1, 'ps', '--host', 'http://x')).stderr, 'Error: Host should not include the protocol.\n');
    const { stderr } = await lms(1, 'ps', '--host', 'x:1');
    assert.equal(stderr, 'Error: Host should not include the port number. Use --port instead.\n');
});

test('cli-009 --port must be a port', async () => {
    for (const [port, why] of [
        ['70000', 'Number out of range, must be at most 65535'],
        ['1.5', 'Not an integer'],
        ['abc', 'Not a number'],
    ]) {
        const { stderr } = await lms(1, 'ps', '--port', port);
        assert.equal(stderr, `error: option '--port <port>' argument '${port}' is invalid. ${why}\n`);
    }
});

test('cli-053 --reasoning has choices', async () => {
    const { stderr } = await lms(1, 'chat', '--reasoning', 'maybe');
    assert.match(stderr, /argument 'maybe' is invalid\. Allowed choices are auto, on, off\.\n$/);
});

test('cli-066 wrong uses of --stats and --filter', async () => {
    for (const [args, why] of [
        [['-s', 'server', '--stats'], '--stats can only be used with --source model'],
        [['-s', 'server', '--filter', 'input'], '--filter can only be used with --source model'],
        [['--filter', ''], '--filter cannot be empty'],
        [['--filter', 'bad'], "--filter values must be 'input', 'output', or 'input,output'"],
    ])
        assert.equal((await lms(1, 'log', 'stream', ...args)).stderr, `Error: ${why}\n`);
});

test('cli-075 lms --help opens no file but its libraries, and no socket', async () => {
    const list = join(home.folder, 'opened');
    // The leak checker cannot look while another program does.
    const env = { ...home.env, ASAN_OPTIONS: `${home.env.ASAN_OPTIONS}:detect_leaks=0` };
    const { code } = await runProgram(join(paths.build, 'tests/tools/trace'), [list, paths.lms, '--help'], { env });
    assert.equal(code, 0);
    const opened = readFileSync(list, 'utf8').trim().split('\n');
    assert.ok(opened.some((line) => /libglib/.test(line)), 'the trace sees files');
    const mine = /^open (\/etc\/ld\.so\.\S+|\S+\.so(\.\S+)?|\/proc\/self\/(maps|cmdline|environ))$/; // the last are the checkers'
    assert.deepEqual(opened.filter((line) => !mine.test(line)), []);
    assert.doesNotMatch(opened.join('\n'), /lib(curl|microhttpd|gio|llama)/, 'what it does not need is not linked');
});

test('a group without a command shows its help on stderr', async () => {
    const { stdout, stderr } = await lms(1, 'server');
    assert.equal(stdout, '');
    assert.match(stderr, /^Usage: lms server \[options\] \[command\]\n/);
    assert.equal((await lms(0, 'server', '-h')).stdout, stderr);
    assert.equal((await lms(0, 'help', 'server')).stdout, stderr);
});

test('--quiet hides errors, the exit code stays', async () => {
    const { stderr } = await lms(1, 'server', 'stop', '--quiet');
    assert.equal(stderr, '');
});

test('version says so in both forms', async () => {
    assert.match((await lms(0, 'version')).stdout, /CLI commit: \w+\n$/);
    assert.deepEqual(Object.keys(JSON.parse((await lms(0, 'version', '--json')).stdout)), ['version', 'commit']);
});

test('mistakes in the draft flags are told before a daemon is looked for', async () => {
    for (const [args, why] of [
        [['--speculative-draft-mtp', '--speculative-draft-simple'], '--speculative-draft-mtp and --speculative-draft-simple cannot both be used.'],
        [['--speculative-draft-model', ''], '--speculative-draft-model must not be empty.'],
        [['--speculative-draft-mtp', '--speculative-draft-model', 'x'], '--speculative-draft-mtp cannot be combined with --speculative-draft-model.'],
        [['--speculative-draft-model', 'x'], '--speculative-draft-model requires --speculative-draft-simple.'],
        [['--speculative-draft-simple'], '--speculative-draft-simple requires --speculative-draft-model.'],
        [['--speculative-draft-max-tokens', '4'], '--speculative draft tuning flags require --speculative-draft-simple or --speculative-draft-mtp.'],
        [['--speculative-draft-mtp', '--speculative-draft-max-tokens', '4', '--speculative-draft-min-tokens', '5'],
            '--speculative-draft-min-tokens must be less than or equal to --speculative-draft-max-tokens.'],
    ])
        assert.equal((await lms(1, 'load', 'x', ...args)).stderr, `Error: ${why}\n`);
    assert.deepEqual(programsIn(home.home), []);
});
