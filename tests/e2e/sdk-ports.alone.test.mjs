// sdk.md 1.1: the five well-known ports, which belong to the whole machine, so this file runs alone.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import test from 'node:test';
import { startDaemon } from './lib/daemon.mjs';
import { demoModel } from './lib/paths.mjs';
import { versions } from './lib/sdk.mjs';

const ports = [41343, 52993, 16141, 39414, 22931];

/** Something else that listens on @port, and knows nothing of LM Studio. */
const occupy = (port) =>
    new Promise((resolve, reject) => {
        const server = createServer((request, response) => response.writeHead(404).end());
        server.on('error', () => reject(new Error(`port ${port} is taken by another program: this test needs all of ${ports}`)));
        server.listen(port, '127.0.0.1', () => resolve(server));
    });

for (const [i, port] of ports.entries())
    test(`sdk-001 a client without an address finds the server on ${port}`, { timeout: 60_000 }, async () => {
        const path = `nobody-else/has-this/port-${port}.gguf`;
        const others = [];
        try {
            for (const earlier of ports.slice(0, i)) others.push(await occupy(earlier));
            const daemon = await startDaemon({ http: false, models: { [path]: demoModel } });
            try {
                assert.equal(daemon.localPort, port);
                for (const { version, sdk } of versions) {
                    const silent = { debug() {}, info() {}, warn() {}, error() {} };
                    const client = new sdk.LMStudioClient({ logger: silent });
                    const models = await client.system.listDownloadedModels();
                    assert.deepEqual(models.map((m) => m.path), [path], version);
                    await client[Symbol.asyncDispose]();
                }
            } finally {
                await daemon.stop();
            }
        } finally {
            others.forEach((server) => server.close());
        }
    });

test('sdk-001 with all five taken it listens elsewhere, and http-server.json says where', { timeout: 60_000 }, async () => {
    const others = [];
    try {
        for (const port of ports) others.push(await occupy(port));
        const daemon = await startDaemon({ http: false, models: 'none' });
        try {
            assert.ok(!ports.includes(daemon.localPort));
            assert.equal((await fetch(`${daemon.localUrl}/lmstudio-greeting`)).status, 200);
        } finally {
            await daemon.stop();
        }
    } finally {
        others.forEach((server) => server.close());
    }
});
