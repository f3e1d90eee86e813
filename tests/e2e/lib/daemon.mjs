// lmsd for a test: started in a home of its own, waited for, and ended in good order.
//
//   const d = await startDaemon({ models: 'demo', http: true });
//   try { … d.baseUrl …; await d.lms(['ps']) } finally { await d.stop(); }
//
// stop() is itself a check: lmsd must end with status 0 after SIGTERM, leave no engine behind, and no checker may have reported.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import * as paths from './paths.mjs';
import { makeHome } from './home.mjs';
import { childrenOf, enginesOf, killQuietly, programsIn, stillThere, until } from './process.mjs';
import { checkForReports } from './sanitizer.mjs';

export { makeHome, readJson, runProgram, writeJson } from './home.mjs';
export { enginesOf, processInfo, programsIn, until } from './process.mjs';

const START_MS = 30_000, STOP_MS = 30_000;
const running = new Set(); // daemons that were not stopped yet

// A test that failed before stop(): nothing of it may live on, and what its daemon said may tell why.
process.on('exit', () => {
    for (const daemon of running) {
        process.stderr.write(`--- lmsd ${daemon.pid} was not stopped; the end of its log:\n${daemon.stderr().slice(-3000)}\n`);
        for (const { pid } of [...childrenOf(daemon.pid), ...programsIn(daemon.home)]) killQuietly(pid, 'SIGKILL');
        daemon.remove();
    }
});

/** A port that is free now, below the range that the system gives to outgoing connections. */
export async function freePort() {
    for (;;) {
        const port = 20_000 + Math.floor(Math.random() * 12_000);
        const free = await new Promise((resolve) => {
            const server = createServer()
                .on('error', () => resolve(false))
                .listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
        });
        if (free) return port;
    }
}

async function answers(url) {
    try {
        return (await fetch(url, { signal: AbortSignal.timeout(3000) })).ok;
    } catch {
        return false;
    }
}

/** Starts lmsd and waits until it answers.  Options: those of makeHome, and
 *
 * http  true (default): the HTTP server too, on a free port; args: more arguments for lmsd
 *
 * Result: that of makeHome, and pid, port, baseUrl (of the HTTP server; undefined without it), localPort, localUrl, localWs (of the
 * local listener), stderr(), fetch(path, init), engines(), kill(signal), exited(), stop(). */
export async function startDaemon(options = {}) {
    const home = makeHome(options);
    const args = [...(options.args ?? [])];
    let port;
    if (options.http ?? true) {
        port = await freePort();
        args.unshift('--server', '--port', String(port));
    }

    const child = spawn(paths.need(paths.lmsd), args, { env: home.env, stdio: ['ignore', 'ignore', 'pipe'] });
    child.unref(); // a failed test must not wait for it
    child.stderr.unref();
    let text = '', ended, closed = false, expected = false, stopped = false;
    let family = []; // lmsd's children as last seen, to find them when it has ended
    child.stderr.setEncoding('utf8').on('data', (more) => (text += more));
    child.on('close', () => (closed = true));
    const exit = new Promise((resolve) => {
        child.on('exit', (code, signal) => resolve((ended = { code, signal })));
        child.on('error', (error) => resolve((ended = { code: error.message })));
    });

    const daemon = {
        ...home,
        pid: child.pid,
        port,
        baseUrl: port === undefined ? undefined : `http://127.0.0.1:${port}`,
        stderr: () => text,
        fetch: (path, init) => fetch(daemon.baseUrl + path, init),
        engines: () => enginesOf(child.pid),
        /** Resolves to { code, signal } when lmsd has ended. */
        exited() {
            child.ref();
            return exit;
        },
        /** Sends a signal.  After that stop() accepts any end of lmsd, but still no report and no engine left. */
        kill(signal = 'SIGKILL') {
            family = childrenOf(child.pid);
            expected = true;
            return child.kill(signal);
        },
        /** Ends lmsd by SIGTERM, unless it has ended already (`lms daemon down`), and checks all that the top of this file says. */
        async stop() {
            if (stopped) return;
            stopped = true;
            family.push(...childrenOf(child.pid));
            let forced = false;
            const late = setTimeout(() => (forced = child.kill('SIGKILL')), STOP_MS);
            if (!ended && !expected) child.kill('SIGTERM');
            const { code, signal } = await daemon.exited();
            clearTimeout(late);
            running.delete(daemon);
            const left = () => [...family.filter(stillThere), ...programsIn(home.home)];
            try {
                await until(() => left().length === 0, `lmsd has ended, but not ${JSON.stringify(left())}`, 10_000);
                await until(() => closed, 'end of lmsd\'s standard error', 5000);
                checkForReports('lmsd or an engine of it', text);
                if (forced) throw new Error(`lmsd did not end within ${STOP_MS} ms of SIGTERM:\n${text.slice(-3000)}`);
                if (code !== 0 && !expected) throw new Error(`lmsd ended with ${signal ?? code}:\n${text.slice(-3000)}`);
            } finally {
                for (const { pid } of left()) killQuietly(pid, 'SIGKILL');
                home.remove();
            }
        },
    };
    running.add(daemon);

    try {
        await until(
            async () => {
                if (ended) throw new Error(`lmsd ended at its start with ${ended.signal ?? ended.code}`);
                const info = home.json('.internal/http-server.json');
                if (info?.pid !== child.pid || !(await answers(`http://127.0.0.1:${info.port}/lms-status`))) return false;
                daemon.localPort = info.port;
                return port === undefined || (await answers(`${daemon.baseUrl}/lmstudio-greeting`));
            },
            'lmsd answers',
            START_MS,
        );
    } catch (error) {
        running.delete(daemon);
        killQuietly(child.pid, 'SIGKILL');
        home.remove();
        throw new Error(`${error.message}\n${text.slice(-3000)}`);
    }
    daemon.localUrl = `http://127.0.0.1:${daemon.localPort}`;
    daemon.localWs = `ws://127.0.0.1:${daemon.localPort}`;
    return daemon;
}
