// lms against a daemon that is not ours, and at a terminal: both need a server whose every answer is scripted.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeHome, until, writeJson } from './lib/daemon.mjs';
import { instanceInfo, modelInfo, startOfficial } from './lib/official.mjs';
import * as paths from './lib/paths.mjs';
import { childrenOf } from './lib/process.mjs';

const linkOff = { status: 'offline', issues: ['deviceDisabled'], peers: [], deviceIdentifier: null, deviceName: 'box' };

/** A home whose file names a scripted daemon. */
async function official(t, endpoints) {
    const home = makeHome({ models: 'none' });
    t.after(() => home.end());
    const server = await startOfficial(endpoints);
    t.after(() => server.stop());
    mkdirSync(home.file('.internal'), { recursive: true });
    writeJson(home.file('.internal/http-server.json'), { port: server.port });
    writeFileSync(home.file('.internal/lms-key-2'), 'the-key\n');
    return { ...home, server };
}

const embedding = { type: 'embedding', vision: undefined, trainedForToolUse: undefined };

test('ps asks an official daemon in its own terms', async (t) => {
    const d = await official(t, {
        'llm.listLoaded': [instanceInfo('zeta', { ttlMs: 3600_000, lastUsedTime: Date.now() - 120_000 }), instanceInfo('alpha')],
        'embedding.listLoaded': [instanceInfo('embed', embedding)],
        'llm.getInstanceProcessingState': ({ specifier }) => (specifier.instanceReference === 'ref-zeta' ? { status: 'processingPrompt', queued: 2 } : { status: 'idle', queued: 0 }),
        'embedding.getInstanceProcessingState': { status: 'computingEmbedding', queued: 1 },
        'llm.getLoadConfig': { fields: [{ key: 'llm.load.numParallelSessions', value: 7 }] },
    });
    const { code, stdout, stderr } = await d.lms(['ps']);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `
IDENTIFIER    MODEL    STATUS                SIZE       CONTEXT    PARALLEL    DEVICE    TTL
alpha         alpha    IDLE                  5.03 GB    8192       7           Local
embed         embed    COMPUTINGEMBEDDING    5.03 GB    8192       -           Local
zeta          zeta     PROCESSINGPROMPT      5.03 GB    8192       7           Local     58m / 1h

`);
    const json = JSON.parse((await d.lms(['ps', '--json'])).stdout);
    assert.deepEqual(json.map(({ identifier, parallel, queued }) => [identifier, parallel, queued]), [['zeta', 7, 2], ['alpha', 7, 0], ['embed', null, 1]]);
    assert.deepEqual(d.server.unknown, []);
    assert.ok(d.server.calls.includes('llm as lms-cli'));
});

test('ls and unload ask an official daemon in its own terms', async (t) => {
    const unloaded = [];
    const d = await official(t, {
        'repository.lmLinkStatus': { ...linkOff, peers: [{ deviceIdentifier: 'd1', deviceName: 'attic', status: 'connected' }] },
        'system.listDownloadedModels': [modelInfo('one', { variants: ['one@a', 'one@b'], selectedVariant: 'one@b' }), modelInfo('far', { deviceIdentifier: 'd1' })],
        'system.listDownloadedModelVariants': [modelInfo('one@a'), modelInfo('one@b')],
        'llm.listLoaded': [instanceInfo('far', { deviceIdentifier: 'd1' })],
        'embedding.listLoaded': [],
        'llm.unloadModel': (parameter) => void unloaded.push(parameter),
    });
    assert.equal((await d.lms(['ls'])).stdout, `
You have 2 models, taking up 10.06 GB of disk space.

LLM                 PARAMS    ARCH     SIZE       DEVICE
far                 8B        Qwen2    5.03 GB    attic     ✓ LOADED
one (2 variants)    8B        Qwen2    5.03 GB    Local

`);
    assert.match((await d.lms(['ls', '--variants'])).stdout, /^one \(2 variants\)\n {3}one@a .*\n \* one@b /m);
    const variants = JSON.parse((await d.lms(['ls', '--variants', '--json'])).stdout);
    assert.deepEqual(variants.map(({ model, variants: list }) => [model.modelKey, list.length]), [['one', 2]]);
    assert.equal((await d.lms(['unload'])).stderr, 'Model "far" unloaded.\n');
    assert.deepEqual(unloaded, [{ identifier: 'far', deviceIdentifier: 'd1' }]);
    assert.deepEqual(d.server.unknown, []);
});

test('load sends its flags as keys of the configuration', async (t) => {
    const loads = [];
    const channel = async (parameter, send) => {
        loads.push(parameter);
        send({ type: 'progress', progress: 1 });
        send({ type: 'success', info: instanceInfo(parameter.modelKey) });
    };
    const d = await official(t, {
        'system.listDownloadedModels': [modelInfo('one'), modelInfo('emb', embedding), modelInfo('eye', { architecture: 'clip' })],
        'llm.loadModel': channel, 'embedding.loadModel': channel,
    });
    const fields = (parameter) => Object.fromEntries(parameter.loadConfigStack.layers[0].config.fields.map(({ key, value }) => [key, value]));
    const run = async (...args) => {
        const { code, stderr } = await d.lms(['load', '-y', ...args]);
        assert.equal(code, 0, stderr);
        return loads.pop();
    };
    assert.deepEqual(await run('one'), { modelKey: 'one', loadConfigStack: { layers: [{ layerName: 'apiOverride', config: { fields: [] } }] } });
    const all = await run('one', '-c', '4096', '--gpu', '0.5', '--parallel', '3', '--ttl', '60', '--identifier', 'mine');
    assert.deepEqual([all.identifier, all.ttlMs], ['mine', 60_000]);
    assert.deepEqual(fields(all), {
        'llm.load.llama.autoFit': false, 'llm.load.mlx.autoFit': false, 'llm.load.yuzu.autoFit': false, 'llm.load.contextLength': 4096,
        'llm.load.llama.acceleration.offloadRatio': 0.5, 'llm.load.numParallelSessions': 3,
    });
    const prefix = 'llm.load.llama.speculativeDecoding.';
    assert.deepEqual(fields(await run('one', '--speculative-draft-simple', '--speculative-draft-model', 'd', '--speculative-draft-max-tokens', '5')),
        { [`${prefix}draftMtp`]: false, [`${prefix}draftSimple`]: true, [`${prefix}draftModel`]: 'd', [`${prefix}draftMaxTokens`]: 5 });
    assert.deepEqual(fields(await run('emb', '-c', '512')), { 'embedding.load.contextLength': 512 });
    const wrong = await d.lms(['load', '-y', 'emb', '--speculative-draft-mtp']);
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /^Error: Unsupported load option\n\n {2}Speculative decoding can only be configured for LLM models\./);
    assert.match((await d.lms(['load', '-y', 'eye'])).stderr, /Model not found/);
});

test('--estimate-only loads nothing and says what it would take', async (t) => {
    const memory = { confidence: 'low', modelVramBytes: 0, contextVramBytes: 0, totalVramBytes: 70523357102, modelBytes: 1, contextBytes: 1, totalBytes: 70523357102 };
    let passesGuardrails = true;
    const d = await official(t, {
        'system.listDownloadedModels': [modelInfo('one')],
        'llm.estimateModelUsage': () => ({ memory, passesGuardrails }),
    });
    const good = await d.lms(['load', 'one', '--estimate-only', '-c', '8192', '--gpu', '0.5']);
    assert.equal(good.code, 0);
    assert.equal(good.stdout, '');
    assert.equal(good.stderr, `Model: one
Context Length: 8,192
GPU Offload: 50%
Estimated GPU Memory:   65.68 GiB
Estimated Total Memory: 65.68 GiB
Confidence: LOW

Estimate: This model may be loaded based on your resource guardrails settings.
`);
    passesGuardrails = false;
    const bad = await d.lms(['load', 'one', '--estimate-only']);
    assert.equal(bad.code, 0);
    assert.match(bad.stderr, /\nEstimate: This model will fail to load based on your resource guardrails settings\.\n$/);
    assert.deepEqual(JSON.parse((await d.lms(['load', 'one', '--estimate-only', '--json'])).stdout), { modelKey: 'one', contextLength: null, gpuRatio: null, passesGuardrails: false, memory });
});

test('errors of the daemon are shown with their suggestion and cause', async (t) => {
    const refuse = () => {
        throw { title: 'Failed to load model', rootTitle: 'x', cause: 'out of memory', suggestion: 'Close something' };
    };
    const d = await official(t, { 'system.listDownloadedModels': [modelInfo('one')], 'llm.loadModel': refuse });
    const { code, stderr } = await d.lms(['load', 'one', '-y']);
    assert.equal(code, 1);
    assert.equal(stderr, 'Error: Failed to load model\n\n(!) SUGGESTION\n\n  Close something\n\n(X) CAUSE\n\n  out of memory\n');
});

/** lms on a terminal of 24 lines: { child, screen(), type(keys), end } */
function onTerminal(d, args) {
    const child = spawn(join(paths.build, 'tests/tools/pty'), ['24', '100', paths.lms, ...args], { env: { ...d.env, NO_COLOR: '' } });
    setTimeout(() => child.kill('SIGKILL'), 30_000).unref();
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (more) => (text += more));
    return {
        screen: () => text,
        type: (keys) => child.stdin.write(keys),
        ended: new Promise((resolve) => child.on('close', resolve)),
        sees: (pattern) => until(() => pattern.test(text), `${pattern} on the screen: ${JSON.stringify(text)}`),
    };
}

test('a model is chosen at the terminal: arrows, typing, Esc', async (t) => {
    const loads = [];
    const d = await official(t, {
        'system.listDownloadedModels': [modelInfo('one'), modelInfo('two'), modelInfo('three')],
        'llm.loadModel': async ({ modelKey }, send) => {
            loads.push(modelKey);
            send({ type: 'progress', progress: 0.42 });
            await new Promise((resolve) => setTimeout(resolve, 150));
            send({ type: 'success', info: instanceInfo(modelKey) });
        },
    });
    const arrows = onTerminal(d, ['load']);
    await arrows.sees(/Select a model to load \|/);
    arrows.type('\x1b[B\x1b[B\x1b[B\x1b[A\r'); // down to the end, which does not wrap, and one up
    assert.equal(await arrows.ended, 0, arrows.screen());
    assert.match(arrows.screen(), /Loading two 42% [⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]/u);
    assert.match(arrows.screen(), /\x1b\[\?25h[^\x1b]*Model loaded successfully in /u);

    const typing = onTerminal(d, ['load', 't']); // several match
    await typing.sees(/! Multiple models match the provided model key\. Please select one\./);
    await typing.sees(/Select a model to load \| t/);
    typing.type('hx\x7f\r');
    assert.equal(await typing.ended, 0, typing.screen());
    assert.deepEqual(loads, ['two', 'three']);

    for (const key of ['\x1b', '\x03']) {
        const left = onTerminal(d, ['load', 'nosuch']);
        await left.sees(/! Cannot find a model matching the provided model key \(nosuch\)\. Please select one from the list below\./);
        await left.sees(/one/);
        left.type(key);
        assert.equal(await left.ended, 1);
        assert.ok(left.screen().endsWith('\x1b[?25h'), 'the cursor is back, and no message');
    }
    assert.equal(loads.length, 2);
});

test('unload asks which one, and chat without a prompt says what it lacks', async (t) => {
    const unloaded = [];
    const d = await official(t, {
        'llm.listLoaded': [instanceInfo('one'), instanceInfo('two')], 'embedding.listLoaded': [],
        'llm.unloadModel': ({ identifier }) => void unloaded.push(identifier),
    });
    const unload = onTerminal(d, ['unload']);
    await unload.sees(/! To unload all models, use the --all flag\.[^]*Select a model to unload \|/);
    unload.type('tw\r');
    assert.equal(await unload.ended, 0, unload.screen());
    assert.deepEqual(unloaded, ['two']);
    const chat = onTerminal(d, ['chat']);
    assert.equal(await chat.ended, 1);
    assert.match(chat.screen(), /Error:.* The interactive chat screen is not part of this version\. Pass a prompt with -p, or pipe one in\./);
});

test('chat at a terminal asks which model when there is none', async (t) => {
    const loads = [];
    const d = await official(t, {
        'llm.getModelInfo': undefined,
        'llm.getOrLoad': async ({ identifier, loadTtlMs }, send) => {
            loads.push([identifier, loadTtlMs]);
            if (!/^(one|two)$/.test(identifier))
                throw { title: 'x', rootTitle: 'x', displayData: { code: 'generic.pathNotFound', path: identifier, availablePathsSample: [], totalModels: 0 } };
            send({ type: 'alreadyLoaded', info: instanceInfo(identifier) });
        },
        'llm.predict': async ({ modelSpecifier, history }, send) => {
            const fragment = { content: `${modelSpecifier.instanceReference} ${history.messages.length}`, tokensCount: 1, containsDrafted: false, reasoningType: 'none', isStructural: false };
            send({ type: 'fragment', fragment });
            send({ type: 'success', stats: { stopReason: 'eosFound' }, modelInfo: {}, loadModelConfig: { fields: [] }, predictionConfig: { fields: [] } });
        },
        'system.listDownloadedModels': [modelInfo('one'), modelInfo('emb', embedding), modelInfo('two')],
    });
    const chat = onTerminal(d, ['chat', '-p', 'hi']);
    await chat.sees(/Did not find the model\. Please select a model to use:[^]*Select a model to chat with[^]*two/);
    assert.doesNotMatch(chat.screen(), /emb/);
    chat.type('\x1b[B\r');
    assert.equal(await chat.ended, 0, chat.screen());
    assert.match(chat.screen(), /ref-two 2\r\n$/);
    assert.deepEqual(loads, [['two', 3600_000]]);
    const wrong = onTerminal(d, ['chat', '-p', 'hi', 'nosuch']);
    assert.equal(await wrong.ended, 1);
    assert.match(wrong.screen(), /Invalid model name 'nosuch'\. Please provide a model name in the format 'owner\/model-name'\./);
    const strict = onTerminal(d, ['chat', '-p', 'hi', '-y']);
    assert.equal(await strict.ended, 1);
    assert.match(strict.screen(), /No loaded model found, load with:/);
});

test('a list that is ended by a signal gives the terminal back', async (t) => {
    const d = await official(t, { 'system.listDownloadedModels': [modelInfo('one'), modelInfo('two')] });
    const shell = spawn(join(paths.build, 'tests/tools/pty'), ['24', '100', 'bash', '-c', `"${paths.lms}" load; echo "code $?"; stty -a | grep -o '[-]*icanon'`], { env: d.env });
    let text = '';
    shell.stdout.on('data', (more) => (text += more));
    await until(() => /two/.test(text), 'the list');
    const [bash] = childrenOf(shell.pid);
    process.kill(childrenOf(bash.pid)[0].pid, 'SIGTERM');
    await new Promise((resolve) => shell.on('close', resolve));
    assert.match(text, /code 143\r\nicanon\r\n$/);
});
