// What /proc knows of the programs under test.
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** { pid, parent, started, args } of a process that lives (a zombie does not), else undefined. */
export function processInfo(pid) {
    try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const [state, parent, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
        return state === 'Z' || state === 'X' ? undefined : { pid: Number(pid), parent: Number(parent), started: rest[17], args };
    } catch {
        return undefined;
    }
}

/** Is it still the process that was seen, not another one with its number? */
export const stillThere = (info) => processInfo(info.pid)?.started === info.started;

const everyProcess = () => readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(processInfo).filter(Boolean);

export const childrenOf = (pid) => everyProcess().filter((info) => info.parent === pid);

/** Pids of the engines that hold a model: children of @pid, without the short-lived --inspect, --survey, --estimate. */
export const enginesOf = (pid) =>
    childrenOf(pid)
        .filter(({ args }) => !args.some((arg) => /^--(inspect|survey|estimate)/.test(arg)))
        .map((info) => info.pid);

/** Daemons and engines that run in @home, whoever started them. */
export const programsIn = (home) =>
    everyProcess().filter(({ pid, args }) => {
        if (!/^(lmsd|lms-engine|fake-engine)$/.test(basename(args[0] ?? ''))) return false;
        try {
            return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`LMS_HOME=${home}`);
        } catch {
            return false;
        }
    });

/** Waits until @condition returns something true, and returns that; throws, naming @what, after @timeout ms. */
export async function until(condition, what = 'condition', timeout = 20_000) {
    const end = Date.now() + timeout;
    for (;;) {
        const value = await condition();
        if (value) return value;
        if (Date.now() > end) throw new Error(`${what}: not within ${timeout} ms`);
        await sleep(20);
    }
}

export function killQuietly(pid, signal) {
    try {
        process.kill(pid, signal);
    } catch {
        // it has ended meanwhile
    }
}
