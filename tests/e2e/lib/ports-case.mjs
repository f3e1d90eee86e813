// One case of sdk-ports.alone.test.mjs, as a program: node ports-case.mjs N.  The first N of the five well-known ports are taken by something
// else; lmsd must take the next one (N = 5: any), and a client without an address must find it.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { startDaemon } from './daemon.mjs';
import { demoModel } from './paths.mjs';
import { versions } from './sdk.mjs';

const ports = [41343, 52993, 16141, 39414, 22931];
const n = Number(process.argv[2]);

/** Something else that listens on @port, and knows nothing of LM Studio. */
const occupy = (port) =>
    new Promise((resolve, reject) => {
        const server = createServer((request, response) => response.writeHead(404).end());
        server.on('error', () => reject(new Error(`port ${port} is taken by another program`)));
        server.listen(port, '127.0.0.1', () => resolve(server));
    });

const others = [];
try {
    for (const port of ports.slice(0, n)) others.push(await occupy(port));
    const path = `nobody-else/has-this/number-${n}.gguf`;
    const daemon = await startDaemon({ http: false, models: { [path]: demoModel } });
    try {
        if (n < ports.length) assert.equal(daemon.localPort, ports[n], 'the port (is another daemon running?)');
        else assert.ok(!ports.includes(daemon.localPort));
        assert.equal((await fetch(`${daemon.localUrl}/lmstudio-greeting`)).status, 200);
        for (const { version, sdk } of n < ports.length ? versions : []) {
            const client = new sdk.LMStudioClient({ logger: { debug() {}, info() {}, warn() {}, error() {} } });
            const models = await client.system.listDownloadedModels();
            assert.deepEqual(models.map((m) => m.path), [path], version);
            await client[Symbol.asyncDispose]();
        }
    } finally {
        await daemon.stop();
    }
} finally {
    for (const server of others) {
        server.close();
        server.closeAllConnections();
    }
}
