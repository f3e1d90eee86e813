// http.md 1.1: the port that clients expect.
import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { startDaemon, until } from './lib/daemon.mjs';

test('http-002 the default port is 1234 on 127.0.0.1 alone', async () => {
    const d = await startDaemon({ http: false, args: ['--server'], models: 'none' });
    try {
        const greeting = await until(() => fetch('http://127.0.0.1:1234/lmstudio-greeting').catch(() => false), 'port 1234');
        assert.deepEqual(await greeting.json(), { lmstudio: true });
        const others = Object.values(networkInterfaces()).flat().filter((a) => a.family === 'IPv4' && !a.internal).map((a) => a.address);
        for (const address of ['127.0.0.2', ...others])
            await assert.rejects(fetch(`http://${address}:1234/lmstudio-greeting`), (error) => /ECONNREFUSED/.test(error.cause?.code), address);
    } finally {
        await d.stop();
    }
});
