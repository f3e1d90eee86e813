// Where the programs and the models under test lie.  The build folder is $ATELIER_BUILD, by default build-checked.
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
export const build = resolve(root, process.env.ATELIER_BUILD ?? 'build-checked');

export const lms = join(build, 'lms');
export const lmsd = join(build, 'lmsd');
export const lmsEngine = join(build, 'lms-engine');
export const fakeEngine = join(build, 'tests/fake-engine/fake-engine');

export const demoModel = join(root, 'models/atelier-demo.gguf');
export const draftModel = join(root, 'models/atelier-demo-draft.gguf');
export const embedModel = join(root, 'models/atelier-demo-embed.gguf');

// From llama.cpp's release: models/templates/*.jinja and models/ggml-vocab-*.gguf.
export const release = join(root, 'engine-pack/release');
export const templates = join(release, 'models/templates');

export const data = join(root, 'tests/data');

/** A new temporary folder; who asks for it removes it. */
export const newFolder = (name = 'x') => mkdtempSync(join(tmpdir(), `atelier-${name}-`));

/** Fails early, with a sentence, when a program has not been built. */
export function need(program) {
    if (!existsSync(program)) throw new Error(`${program} is not there: build first (./dev build, or ninja -C ${build})`);
    return program;
}
