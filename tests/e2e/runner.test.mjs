// The harness itself: it must see what the checkers report, and what outlives a test.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { test } from 'node:test';
import { makeHome, programsIn, runProgram, until } from './lib/daemon.mjs';
import { checkForReports } from './lib/sanitizer.mjs';

const reports = {
    address: '==42==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000010',
    leak: '==42==ERROR: LeakSanitizer: detected memory leaks',
    undefined: '../src/base/json.c:12:5: runtime error: signed integer overflow',
};
for (const [name, line] of Object.entries(reports))
    test(`a report of the ${name} checker is found`, async () => {
        assert.throws(() => checkForReports('it', `before\n${line}\nafter`), /a checker reports in it/);
        await assert.rejects(runProgram('sh', ['-c', `echo '${line}' >&2`]), /a checker reports/);
    });

test('ordinary log lines are no report', () => {
    checkForReports('it', '[2026-11-24 17:15:09][ERROR][LM STUDIO SERVER] runtime: 3 errors');
});

test('a program that outlives its test is found by its home, and ended', async () => {
    const home = makeHome({ models: 'none' });
    copyFileSync('/bin/sleep', home.file('lmsd'));
    const child = spawn(home.file('lmsd'), ['600'], { env: home.env, stdio: 'ignore' });
    const exit = once(child, 'exit');
    await until(() => programsIn(home.home).length === 1, 'it runs');
    await home.end();
    assert.deepEqual(await exit, [null, 'SIGTERM']);
    assert.deepEqual(programsIn(home.home), []);
});

test('a program that hangs is killed at its time', async () => {
    const { signal } = await runProgram('sleep', ['600'], { timeout: 200 });
    assert.equal(signal, 'SIGKILL');
});
