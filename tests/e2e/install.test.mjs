// First steps of a user: what `./dev install` leaves, programs that find llama.cpp's libraries and each other wherever the tree was put;
// and a server from nothing.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort, makeHome, programsIn, runProgram, until } from './lib/daemon.mjs';
import * as paths from './lib/paths.mjs';

test('an installed tree answers from where it was put', async () => {
    const root = paths.newFolder('install');
    const home = makeHome();
    try {
        const env = { ...home.env, DESTDIR: root };
        const options = JSON.parse((await runProgram('meson', ['introspect', '--buildoptions', paths.build], { env })).stdout);
        const prefix = options.find((option) => option.name === 'prefix').value;
        const install = await runProgram('meson', ['install', '-C', paths.build, '--no-rebuild', '--quiet'], { env });
        assert.equal(install.code, 0, install.stderr + install.stdout);

        const program = (name) => join(root, prefix, 'bin', name);
        const inspect = await runProgram(program('lms-engine'), ['--inspect', paths.demoModel], { env });
        assert.equal(inspect.code, 0, inspect.stderr);
        assert.match(inspect.stdout, /"qwen3"/);

        // lms finds the lmsd beside it, which finds the lms-engine beside it.
        const chat = await runProgram(program('lms'), ['chat', 'atelier-demo', '-p', 'What is 17 + 25?'], { env: home.env });
        assert.equal(chat.code, 0, chat.stderr);
        assert.match(chat.stdout, /42/);
    } finally {
        await home.end();
        rmSync(root, { recursive: true, force: true });
    }
});

test('lms server start --port, with no daemon running, starts one and its HTTP server there', async () => {
    const home = makeHome({ env: { LMS_HOST: '192.0.2.1:9' } }); // which says where others are, not where ours is
    try {
        const port = await freePort();
        const start = await home.lms(['server', 'start', '--port', String(port)]);
        assert.equal(start.code, 0, start.stderr);
        assert.match(start.stderr, new RegExp(`Success! Server is now running on port ${port}`));
        assert.equal((await fetch(`http://127.0.0.1:${port}/v1/models`)).status, 200);
        assert.equal((await home.lms(['server', 'stop'])).code, 0);
        await until(() => fetch(`http://127.0.0.1:${port}/v1/models`).then(() => false, () => true), 'it is closed');
        assert.equal((await home.lms(['daemon', 'down'])).code, 0);
        assert.deepEqual(programsIn(home.home), []);
    } finally {
        await home.end();
    }
});
