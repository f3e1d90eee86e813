// sdk.md 1.1: the five well-known ports.  They belong to the whole machine, where other daemons may run: each case has a network of its own where
// the system allows one (unshare), and else needs the ports to be free.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { runProgram } from './lib/daemon.mjs';

const program = fileURLToPath(new URL('./lib/ports-case.mjs', import.meta.url));
const ownNetwork = ['unshare', '--map-root-user', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];
const canUnshare = spawnSync(ownNetwork[0], [...ownNetwork.slice(1), 'true']).status === 0;

async function check(n) {
    const [command, ...args] = [...(canUnshare ? ownNetwork : []), process.execPath, program, String(n)];
    const { code, stdout, stderr } = await runProgram(command, args, { timeout: 90_000 });
    assert.equal(code, 0, stdout + stderr);
}

for (const [n, port] of [41343, 52993, 16141, 39414, 22931].entries())
    test(`sdk-001 a client without an address finds the server on ${port}`, { timeout: 100_000 }, () => check(n));

test('sdk-001 with all five taken it listens elsewhere, and http-server.json says where', { timeout: 100_000 }, () => check(5));
