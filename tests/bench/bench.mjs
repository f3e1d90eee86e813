// Measurements (docs/performance.md).  Numbers of one run belong together: each comparison alternates its two sides, and what is
// printed is the median and the ratio.  Times of other programs on the machine are kept out where CPU time can be read instead.
//
//   LLAMA_SERVER=path   a llama-server binary: the same requests go to it, side by side
//   BENCH_ROUNDS=n      pairs per comparison (3)
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, startDaemon, until } from '../e2e/lib/daemon.mjs';
import { build, lms, release } from '../e2e/lib/paths.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const TICKS = 100; // of /proc/PID/stat, a second
const folder = join(build, 'bench');
mkdirSync(folder, { recursive: true });

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const fixed = (x, digits = 2) => (Number.isFinite(x) ? x.toFixed(digits) : String(x));
const say = (name, text) => console.log(`${name.padEnd(46)} ${text}`);

/** CPU seconds of a process so far. */
function cpuSeconds(pid) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

const status = (pid, name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);

/** A model of random weights; the same name is the same file. */
function model(name, layers, width, heads, kvHeads, ff, context = 32768) {
    const path = join(folder, `${name}.gguf`);
    if (!existsSync(path)) {
        const vocabulary = join(release, 'models/ggml-vocab-qwen2.gguf');
        const made = spawnSync(join(build, 'tests/bench/make-model'), [vocabulary, path, layers, width, heads, kvHeads, ff, context].map(String));
        if (made.status !== 0) throw new Error(`make-model: ${made.stderr}`);
    }
    return path;
}
const small = () => model('random-0.1b', 8, 512, 8, 2, 1536);
const large = () => model('random-0.5b', 16, 1024, 16, 4, 4096);

const daemonWith = (path, more = {}) =>
    startDaemon({ models: { 'bench/random/random.gguf': path }, settings: { defaultContextLength: { type: 'custom', value: 8192 } }, ...more });

/** Streams one chat completion: { first, gaps, count, usage, end } with times in ms since the request; on(event) may stop it by false. */
async function stream(base, body, on = () => true) {
    const abort = new AbortController();
    const start = performance.now();
    const reply = await fetch(`${base}/v1/chat/completions`, {
        method: 'POST',
        signal: abort.signal,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'random', stream: true, stream_options: { include_usage: true }, ...body }),
    });
    if (!reply.ok) throw new Error(`${reply.status} ${await reply.text()}`);
    const times = [];
    let usage, rest = '';
    try {
        for await (const part of reply.body) {
            const now = performance.now() - start;
            rest += Buffer.from(part).toString();
            const events = rest.split('\n\n');
            rest = events.pop();
            for (const event of events) {
                if (!event.startsWith('data: {')) continue;
                const chunk = JSON.parse(event.slice(6));
                if (chunk.usage) usage = chunk.usage;
                if (chunk.choices?.[0]?.delta?.content) times.push(now);
            }
            if (times.length > 0 && on(times) === false) {
                abort.abort();
                break;
            }
        }
    } catch (error) {
        if (error.name !== 'AbortError') throw error;
    }
    return { times, first: times[0], gap: Math.max(0, ...times.slice(1).map((t, i) => t - times[i])), usage, end: performance.now() - start };
}

const words = (n, salt = 0) => Array.from({ length: n }, (_, i) => `w${(i * 7919 + salt * 104729) % 9973}`).join(' ');
const user = (content) => [{ role: 'user', content }];

function bare(path, streams, prompt, fresh) {
    const ran = spawnSync(join(build, 'tests/bench/bare-loop'), [path, streams, prompt, fresh, 1].map(String), { encoding: 'utf8' });
    if (ran.status !== 0) throw new Error(`bare-loop: ${ran.stderr}`);
    return JSON.parse(ran.stdout);
}

/** Tokens per CPU second of the engine, from each stream's first token to the last one's end. */
async function engineRate(d, streams, fresh) {
    const [engine] = d.engines();
    let started = 0, from;
    const replies = await Promise.all(
        Array.from({ length: streams }, (_, i) =>
            stream(d.baseUrl, { messages: user(words(8, i)), max_tokens: fresh, seed: i + 1 }, (times) => {
                if (times.counted) return true;
                times.counted = true;
                if (++started === streams) from = { cpu: cpuSeconds(engine), at: performance.now() };
                return true;
            }),
        ),
    );
    const tokens = replies.reduce((sum, reply) => sum + reply.usage.completion_tokens, 0);
    return { perCpu: tokens / (cpuSeconds(engine) - from.cpu), perSecond: tokens / ((performance.now() - from.at) / 1000) };
}

const benches = {
    async decode() {
        const path = small();
        for (const streams of [1, 8]) {
            const d = await daemonWith(path);
            try {
                const ours = [], theirs = [];
                for (let i = 0; i < ROUNDS; i++) {
                    theirs.push(bare(path, streams, 60, 384).tokens_per_cpu_s);
                    // An empty cache, as the bare loop has: what earlier conversations leave parked is measured by `parked`.
                    await d.lms(['unload', '--all']);
                    await d.lms(['load', 'random', '--parallel', '8', '-y']);
                    ours.push((await engineRate(d, streams, 384)).perCpu);
                }
                const ratio = median(ours.map((rate, i) => rate / theirs[i]));
                say(`decode, ${streams} stream${streams > 1 ? 's' : ''}`, `${fixed(median(ours), 1)} tokens per CPU s, bare loop ${fixed(median(theirs), 1)}, ratio ${fixed(ratio, 3)}`);
            } finally {
                await d.stop();
            }
        }
    },

    async parked() {
        const d = await daemonWith(small());
        try {
            await d.lms(['load', 'random', '-y']);
            const empty = (await engineRate(d, 1, 256)).perCpu;
            await stream(d.baseUrl, { messages: user(words(700)), max_tokens: 1 });
            const beside = await engineRate(d, 1, 256);
            say('decode beside 3 000 parked tokens', `${fixed(beside.perCpu, 1)} tokens per CPU s, ${fixed(empty, 1)} in an empty cache, ratio ${fixed(beside.perCpu / empty, 3)}`);
        } finally {
            await d.stop();
        }
    },

    async first() {
        const path = small(), ours = [], theirs = [];
        for (let i = 0; i < ROUNDS; i++) {
            theirs.push(bare(path, 1, 40, 1).exec_to_first_ms);
            const d = await daemonWith(path);
            try {
                await d.fetch('/v1/models');
                ours.push((await stream(d.baseUrl, { messages: user(words(8)), max_tokens: 2 })).first);
            } finally {
                await d.stop();
            }
        }
        say('request to first token with the load', `${fixed(median(ours), 0)} ms, bare loop from exec ${fixed(median(theirs), 0)} ms, ratio ${fixed(median(ours.map((t, i) => t / theirs[i])), 2)}`);
    },

    async http() {
        const d = await startDaemon({ fake: { jobs: [[{ text: 'x' }]] } });
        try {
            const get = 'GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n';
            const bad = '{"model":"atelier-demo","messages":[{"role":"user","content":"hi"}],"temperature":9}';
            const post = `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${bad.length}\r\n\r\n${bad}`;
            for (const [name, request] of [['GET /v1/models', get], ['a rejected POST', post]]) {
                await hammer(d.port, request, 2000);
                const before = cpuSeconds(d.pid), n = 40_000;
                await hammer(d.port, request, n);
                say(`CPU per request: ${name}`, `${fixed(((cpuSeconds(d.pid) - before) / n) * 1e6, 1)} µs`);
            }
        } finally {
            await d.stop();
        }
    },

    net() {
        const ran = spawnSync(join(build, 'tests/bench/http-bench'), ['50000'], { encoding: 'utf8' });
        if (ran.status !== 0) throw new Error(`http-bench: ${ran.stderr}`);
        for (const line of ran.stdout.trim().split('\n')) {
            const [, name, rest] = /^(.*?) {2,}(.*)$/.exec(line);
            say(`net alone: ${name}`, rest.trim());
        }
    },

    async sse() {
        for (const streams of [1, 32, 256]) {
            const each = Math.ceil(20_000 / streams);
            const d = await startDaemon({ fake: { ready: { parallel: 256 }, jobs: [[{ text: ' word', times: each, every_ms: streams > 1 ? 20 : 1 }]] } });
            try {
                await d.lms(['load', 'atelier-demo', '--parallel', '256', '-y']);
                const [engine] = d.engines();
                const before = [cpuSeconds(d.pid), cpuSeconds(engine)];
                const body = JSON.stringify({ model: 'atelier-demo', stream: true, messages: user('x') });
                await Promise.all(
                    Array.from({ length: streams }, async () => {
                        const reply = await fetch(`${d.baseUrl}/v1/chat/completions`, { method: 'POST', body });
                        for await (const _ of reply.body);
                    }),
                );
                const events = each * streams, used = cpuSeconds(d.pid) - before[0];
                say(`SSE, ${streams} stream${streams > 1 ? 's' : ''}, paced`, `${fixed((used / events) * 1e6, 1)} µs of lmsd per event, ${fixed(events / used, 0)} events per CPU s`);
            } finally {
                await d.stop();
            }
        }
    },

    async stall() {
        const d = await daemonWith(large());
        try {
            await d.lms(['load', 'random', '-y']);
            let long;
            const running = await stream(d.baseUrl, { messages: user('go'), max_tokens: 400, seed: 1 }, (times) => {
                if (times.length === 20) long = stream(d.baseUrl, { messages: user(words(860)), max_tokens: 1 });
                return !long?.over;
            });
            const { usage, first } = await long;
            say('a long prompt beside a running stream', `longest gap ${fixed(running.gap, 0)} ms; prompt of ${usage.prompt_tokens} tokens, first token after ${fixed(first / 1000, 1)} s`);
        } finally {
            await d.stop();
        }
    },

    async prefix() {
        const d = await daemonWith(small());
        try {
            await d.lms(['load', 'random', '-y']);
            const shared = words(600);
            const cold = await stream(d.baseUrl, { messages: user(`${shared} one`), max_tokens: 1 });
            await sleep(200);
            const fresh = words(600, 1);
            let second;
            await stream(d.baseUrl, { messages: user(`${fresh} two`), max_tokens: 120 }, (times) => {
                if (times.length === 10) second = stream(d.baseUrl, { messages: user(`${fresh} three`), max_tokens: 1 });
                return true;
            });
            const { usage, first } = await second;
            say('a prefix that a running stream holds', `${usage.prompt_tokens_details.cached_tokens} of ${usage.prompt_tokens} tokens known, first token ${fixed(first, 0)} ms, cold ${fixed(cold.first, 0)} ms, ratio ${fixed(first / cold.first, 2)}`);
        } finally {
            await d.stop();
        }
    },

    async gone() {
        const d = await daemonWith(small());
        try {
            await d.lms(['load', 'random', '--parallel', '1', '-y']);
            const [engine] = d.engines();
            const quiet = async (what, act) => {
                await act();
                const left = performance.now(), before = cpuSeconds(engine);
                let last = before, at = left;
                while (performance.now() - at < 400) {
                    await sleep(10);
                    const now = cpuSeconds(engine);
                    if (now > last) [last, at] = [now, performance.now()];
                }
                say(`after a client left ${what}`, `${fixed((last - before) * 1000, 0)} ms of the engine's CPU`);
            };
            await quiet('in the middle of a reply', () => stream(d.baseUrl, { messages: user('go'), max_tokens: 2000 }, (times) => times.length < 30));
            await quiet('in the middle of a long prompt', async () => {
                const abort = new AbortController();
                const asked = fetch(`${d.baseUrl}/v1/chat/completions`, { method: 'POST', signal: abort.signal, body: JSON.stringify({ model: 'random', stream: true, messages: user(words(2000)) }) });
                await sleep(700);
                abort.abort();
                await asked.catch(() => {});
            });
        } finally {
            await d.stop();
        }
    },

    async idle() {
        const d = await startDaemon();
        try {
            await d.fetch('/v1/models');
            await sleep(3000);
            const before = status(d.pid, 'voluntary_ctxt_switches');
            await sleep(10_000);
            say('lmsd idle', `${fixed(status(d.pid, 'VmRSS') / 1024, 1)} MB resident (${fixed(status(d.pid, 'RssAnon') / 1024, 1)} MB of its own), ${status(d.pid, 'voluntary_ctxt_switches') - before} wake-ups in 10 s`);
        } finally {
            await d.stop();
        }
    },

    async cli() {
        const d = await startDaemon();
        try {
            await d.lms(['load', 'atelier-demo', '-y']);
            for (const args of [['ps'], ['ls', '--json'], ['--help']]) {
                const times = [];
                for (let i = 0; i < 40; i++) {
                    const start = performance.now();
                    await once(spawn(lms, args, { env: d.env, stdio: 'ignore' }), 'exit');
                    times.push(performance.now() - start);
                }
                say(`lms ${args.join(' ')}, exec to exit`, `${fixed(median(times), 1)} ms (${fixed(Math.min(...times), 1)} the fastest of ${times.length})`);
            }
        } finally {
            await d.stop();
        }
    },

    async llamaServer() {
        const binary = process.env.LLAMA_SERVER;
        if (!binary) return say('llama-server', 'not measured: LLAMA_SERVER names no binary');
        const path = small(), port = await freePort();
        const child = spawn(binary, ['-m', path, '--port', String(port), '-t', '1', '-c', '8192', '-np', '8', '--no-webui'], { stdio: 'ignore' });
        const base = `http://127.0.0.1:${port}`;
        try {
            await until(async () => (await fetch(`${base}/health`).catch(() => ({}))).ok, 'llama-server answers', 60_000);
            const peer = { baseUrl: base, engines: () => [child.pid] };
            const d = await daemonWith(path);
            try {
                await d.lms(['load', 'random', '--parallel', '8', '-y']);
                for (const streams of [1, 8]) {
                    const ours = [], theirs = [];
                    for (let i = 0; i < ROUNDS; i++) {
                        theirs.push((await engineRate(peer, streams, 256)).perCpu);
                        ours.push((await engineRate(d, streams, 256)).perCpu);
                    }
                    say(`llama-server, ${streams} streams`, `ours ${fixed(median(ours), 1)}, its ${fixed(median(theirs), 1)} tokens per CPU s, ratio ${fixed(median(ours.map((r, i) => r / theirs[i])), 3)}`);
                }
            } finally {
                await d.stop();
            }
        } finally {
            child.kill();
        }
    },
};

/** @n requests over 16 connections, one after the other on each. */
async function hammer(port, request, n) {
    let left = n;
    const one = () =>
        new Promise((resolve, reject) => {
            const socket = net.connect(port, '127.0.0.1', () => socket.write(request));
            let text = '';
            left--;
            socket.setNoDelay().on('error', reject).on('close', resolve);
            socket.on('data', (part) => {
                text += part.toString('latin1');
                const head = text.indexOf('\r\n\r\n');
                if (head < 0) return;
                const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
                if (text.length < head + 4 + length) return;
                text = text.slice(head + 4 + length);
                if (left-- > 0) socket.write(request);
                else socket.end();
            });
        });
    await Promise.all(Array.from({ length: 16 }, one));
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !benches[name]);
if (unknown.length > 0) {
    console.error(`no measurement called ${unknown.join(', ')}; there are ${Object.keys(benches).join(', ')}`);
    process.exit(1);
}
console.log(`${cpus().length} x ${cpus()[0].model}, ${new Date().toISOString().slice(0, 10)}, release build, ${ROUNDS} rounds\n`);
for (const [name, bench] of Object.entries(benches)) if (wanted.length === 0 || wanted.includes(name)) await bench();
