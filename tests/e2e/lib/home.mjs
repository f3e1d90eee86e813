// A home folder of its own for each test, with the models it asks for, and `lms` run in it.
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as paths from './paths.mjs';
import { killQuietly, programsIn, until } from './process.mjs';
import { checkForReports, sanitizerEnv } from './sanitizer.mjs';

const demo = {
    'atelier/demo/atelier-demo.gguf': paths.demoModel,
    'atelier/demo-draft/atelier-demo-draft.gguf': paths.draftModel,
    'atelier/demo-embed/atelier-demo-embed.gguf': paths.embedModel,
};

/** JSON from a file, or undefined: it is missing, or half of it is written. */
export function readJson(path) {
    try {
        return JSON.parse(readFileSync(path, 'utf8'));
    } catch {
        return undefined;
    }
}

export function writeJson(path, value) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, JSON.stringify(value, null, 2));
}

/** The environment of every program under test: nothing of the user's settings, no folder of the user's. */
function environment(folder, home, options) {
    const env = { ...process.env };
    for (const name of Object.keys(env))
        if (/^(LMS_|LM_|LMSTUDIO_|FAKE_ENGINE_|NODE_|https?_proxy$|all_proxy$)/i.test(name)) delete env[name];
    Object.assign(env, sanitizerEnv, { HOME: join(folder, 'user'), LMS_HOME: home, NO_COLOR: '1', LC_ALL: 'C.UTF-8' });
    if (options.fake !== undefined)
        Object.assign(env, {
            LMS_ENGINE: paths.need(paths.fakeEngine),
            FAKE_ENGINE_SCRIPT: options.fake,
            LMS_REAL_ENGINE: paths.lmsEngine,
        });
    return Object.assign(env, options.env);
}

/** Makes what startDaemon runs in: { folder, home, env, lms(), file(), json(), exists(), end(), remove() }.
 * For tests in which `lms` itself starts the daemon, it is used alone: end() then ends that daemon and removes the folder.
 *
 * models    'demo' (default), 'none', or { 'publisher/repository/file.gguf': path of the file to copy there }
 * settings  goes to settings.json; httpConfig to .internal/http-server-config.json
 * home      an existing home folder to use again: nothing is copied into it, and it is not removed
 * fake      path of a fake-engine script, or an object that becomes one
 * env       added to the environment of all programs */
export function makeHome(options = {}) {
    const folder = paths.newFolder('test');
    const home = options.home ?? join(folder, 'home');
    mkdirSync(join(folder, 'user'));
    mkdirSync(home, { recursive: true });
    if (options.home === undefined) {
        const models = { demo, none: {} }[options.models ?? 'demo'] ?? options.models;
        for (const [name, source] of Object.entries(models)) {
            mkdirSync(dirname(join(home, 'models', name)), { recursive: true });
            copyFileSync(source, join(home, 'models', name));
        }
    }
    if (options.settings) writeJson(join(home, 'settings.json'), options.settings);
    if (options.httpConfig) writeJson(join(home, '.internal/http-server-config.json'), options.httpConfig);

    let fake = options.fake;
    if (fake !== undefined && typeof fake !== 'string') {
        fake = join(folder, 'script.json');
        writeJson(fake, options.fake);
    }
    const env = environment(folder, home, { ...options, fake });
    const file = (...names) => join(home, ...names);
    return {
        folder, home, env, file,
        json: (...names) => readJson(file(...names)),
        exists: (...names) => existsSync(file(...names)),
        lms: (args, more = {}) => runProgram(paths.need(paths.lms), args, { ...more, env: { ...env, ...more.env } }),
        async end() {
            const left = programsIn(home);
            for (const { pid } of left) killQuietly(pid, 'SIGTERM');
            try {
                await until(() => programsIn(home).length === 0, `it does not end: ${JSON.stringify(left)}`, 30_000);
            } finally {
                for (const { pid } of programsIn(home)) killQuietly(pid, 'SIGKILL');
                rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
            }
        },
        remove: () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }),
    };
}

/** Runs a program to its end: { code, signal, stdout, stderr }.  A report of a sanitizer is thrown.
 * stdin is text (default: empty); timeout in ms (60 s), after which it is killed (signal 'SIGKILL'); onStart(child) sees it run. */
export function runProgram(program, args, { stdin = '', env = process.env, cwd, timeout = 60_000, onStart } = {}) {
    return new Promise((resolve, reject) => {
        const child = spawn(program, args, { env, cwd, stdio: ['pipe', 'pipe', 'pipe'] });
        const timer = setTimeout(() => child.kill('SIGKILL'), timeout);
        let stdout = '', stderr = '';
        child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
        child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
        child.stdin.on('error', () => {}); // it may end without reading
        child.on('error', reject);
        child.on('close', (code, signal) => {
            clearTimeout(timer);
            try {
                checkForReports(`${program} ${args.join(' ')}`, stderr);
                resolve({ code, signal, stdout, stderr });
            } catch (error) {
                reject(error);
            }
        });
        child.stdin.end(stdin);
        onStart?.(child);
    });
}
