// cli.md 1.4: the five well-known ports.  They are the machine's, so these tests run alone, in a network of their own where the system allows it.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort, makeHome, programsIn, startDaemon, writeJson } from './lib/daemon.mjs';

/** A home without LMS_HOME: that of the user, as most people have it.  @hint goes to its http-server.json. */
function plainHome(t, hint) {
    const stranger = makeHome({ models: 'none' });
    t.after(() => stranger.end());
    const home = join(stranger.folder, 'user/.lmstudio');
    mkdirSync(join(home, '.internal'), { recursive: true });
    if (hint) writeJson(join(home, '.internal/http-server.json'), hint);
    return (args) => stranger.lms(args, { env: { LMS_HOME: '' } });
}

test('cli-011 a stale http-server.json does not hide a daemon on the well-known ports', async (t) => {
    const d = await startDaemon({ models: 'none', http: false });
    t.after(() => d.stop());
    for (const hint of [undefined, { port: await freePort() }, { port: await freePort(), pid: process.pid, lmsd: '0.1.0' }, { port: 'x' }, { port: 70000 }]) {
        const lms = plainHome(t, hint);
        const { code, stdout, stderr } = await lms(['daemon', 'status', '--json']);
        assert.equal(code, 0, stderr);
        assert.equal(JSON.parse(stdout).pid, d.pid, 'its pid (is another daemon running?)');
        assert.equal((await lms(['ps', '--json'])).stdout, '[]\n');
    }
});

test('under LMS_HOME the well-known ports are not looked at', async (t) => {
    const d = await startDaemon({ models: 'none', http: false });
    t.after(() => d.stop());
    const home = makeHome({ models: 'none' });
    t.after(() => home.end());
    assert.equal((await home.lms(['daemon', 'status'])).stdout, 'LM Studio is not running\n');
    assert.equal((await home.lms(['daemon', 'down'])).code, 1);
    assert.equal((await home.lms(['ps', '--json'])).code, 0);
    assert.equal(programsIn(home.home).length, 1, 'it has started one of its own');
});
