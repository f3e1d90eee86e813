// sdk.md 7.3, 7.4 and 7.9 with an engine that plays a script: what the demo model can't be made to do.
import assert from 'node:assert/strict';
import test from 'node:test';
import { startDaemon, until } from './lib/daemon.mjs';
import { byReference, checkWire, dispose, history, messageOf, newClient, openRaw, recordingProxy, stack, versions } from './lib/sdk.mjs';

const key = 'atelier-demo';
const messages = (wire) => wire.filter((f) => f.from === 'server' && f.frame.type === 'channelSend').map((f) => f.frame.message);

/** One test for each version, with a daemon whose engine plays @jobs. */
function scripted(name, jobs, body, { only, fake = {}, ...options } = {}) {
    for (const { version, sdk } of versions) {
        if (only && only !== version) continue;
        test(`${name} · SDK ${version}`, { timeout: 120_000 }, async () => {
            const daemon = await startDaemon({ http: false, fake: { jobs, ...fake } });
            const proxy = await recordingProxy(daemon.localWs);
            try {
                const client = newClient(sdk, proxy.url);
                const model = await client.llm.model(key, { verbose: false });
                await body({ client, model, sdk, version, daemon, wire: proxy.frames });
                await dispose(client);
                checkWire(proxy.frames, options);
            } finally {
                proxy.close();
                await daemon.stop();
            }
        });
    }
}

scripted('sdk-037 cause and suggestion of an engine failure are in the message', [[{ text: 'so far' }, { fail: { kind: 'internal', message: 'the ninth layer gave NaN' } }]],
    async ({ model }) => {
        const text = await messageOf(model.respond('hi'));
        assert.match(text, /Failed to predict/);
        assert.match(text, /the ninth layer gave NaN/);
        assert.match(text, /Try again/);
    });

scripted('sdk-057 a full context is contextLengthReached', [[{ text: 'x' }, { done: { reason: 'context_full' } }]],
    async ({ model }) => assert.equal((await model.respond('hi', { contextOverflowPolicy: 'stopAtLimit' })).stats.stopReason, 'contextLengthReached'));

scripted('sdk-058 cancel() while the engine sleeps', [[{ text: 'so far' }, { wait_ms: 600_000 }]], async ({ model }) => {
    const prediction = model.respond('hi');
    for await (const _ of prediction) break;
    await prediction.cancel();
    const { content, stats } = await prediction.result();
    assert.deepEqual([content, stats.stopReason], ['so far', 'userStopped']);
});

scripted('sdk-059 cancel as the very next frame', [[{ wait_ms: 600_000 }]], async ({ daemon }) => {
    const raw = await openRaw(daemon.localWs, 'llm');
    const [{ instanceReference }] = (await raw.call('listLoaded')).result;
    const channel = raw.channel('predict', { modelSpecifier: byReference(instanceReference), history: history('hi'), predictionConfigStack: stack() });
    channel.send({ type: 'cancel' });
    assert.equal((await channel.ended()).type, 'channelClose');
    assert.equal(channel.messages().at(-1).stats.stopReason, 'userStopped');
    assert.equal(channel.messages().filter((m) => m.type === 'success').length, 1);
    raw.close();
});

scripted('sdk-060 the marks of thoughts are fragments of their own', [[{ reasoning: 'hm, ' }, { reasoning: 'well' }, { text: 'Hi' }, { text: ' you' }, { done: {} }]],
    async ({ model, wire }) => {
        const result = await model.respond('hi');
        const fragments = messages(wire).filter((m) => m.type === 'fragment').map((m) => m.fragment);
        assert.deepEqual(fragments.map((f) => [f.content, f.reasoningType, f.isStructural]), [
            ['<think>', 'reasoningStartTag', true], ['hm, ', 'reasoning', false], ['well', 'reasoning', false],
            ['</think>', 'reasoningEndTag', true], ['Hi', 'none', false], [' you', 'none', false],
        ]);
        assert.equal(result.content, '<think>hm, well</think>Hi you');
        assert.equal(result.reasoningContent, 'hm, well');
        assert.equal(result.nonReasoningContent, 'Hi you');
    });

scripted('sdk-060 with parsing off the marks are text', [[{ reasoning: 'hm' }, { text: 'Hi' }, { done: {} }]], async ({ model }) => {
    const result = await model.respond('hi', { reasoningParsing: { enabled: false, startString: '<think>', endString: '</think>' } });
    assert.equal(result.nonReasoningContent, '<think>hm</think>Hi');
    assert.equal(result.reasoningContent, '');
});

scripted('sdk-068 the engine dies in the middle', [[{ text: 'so far' }, { wait_ms: 50 }, { kill: 9 }], [{ text: 'again' }, { done: {} }]], async ({ model, daemon }) => {
    await messageOf(model.respond('hi'));
    // The script is read anew by the next engine, so it dies again: what counts is that each time there is an answer.
    await messageOf(model.respond('hi'));
    await until(() => daemon.engines().length === 0, 'no engine is left');
});

scripted('sdk-069 characters of many bytes arrive whole', [[{ text: 'Zürich 東京 🙂' }, { text: 'é' }, { done: {} }]], async ({ model, wire }) => {
    const { content } = await model.respond('hi');
    assert.equal(content, 'Zürich 東京 🙂é');
    for (const m of messages(wire).filter((one) => one.type === 'fragment')) assert.doesNotMatch(m.fragment.content, /\uFFFD/);
});

test('a client that does not read pauses its job, and misses nothing', { timeout: 120_000 }, async () => {
    // More than the daemon would keep for a client (32 MiB): without the pause it would be cut off.
    const piece = 'x'.repeat(8192), times = 6000;
    const daemon = await startDaemon({ http: false, fake: { jobs: [[{ text: piece, times, every_ms: 0 }, { done: {} }]] } });
    try {
        const raw = await openRaw(daemon.localWs, 'llm'), other = await openRaw(daemon.localWs, 'llm');
        const load = raw.channel('getOrLoad', { identifier: key, loadConfigStack: stack() });
        await load.ended();
        const { instanceReference } = load.messages().at(-1).info;
        raw.socket.pause();
        const channel = raw.channel('predict', { modelSpecifier: byReference(instanceReference), history: history('hi'), predictionConfigStack: stack() });
        for (let i = 0; i < 20; i++) {
            assert.equal((await other.call('listLoaded')).type, 'rpcResult'); // nobody else waits for it
            await new Promise((resolve) => setTimeout(resolve, 100));
        }
        const state = await other.call('getInstanceProcessingState', { specifier: byReference(instanceReference), throwIfNotFound: true });
        assert.equal(state.result.status, 'generating'); // it is not through: it waits for the reader
        raw.socket.resume();
        assert.equal((await raw.next((f) => f.channelId === channel.id && /^channel(Close|Error)$/.test(f.type), 60_000)).type, 'channelClose');
        const length = channel.messages().reduce((sum, m) => sum + (m.fragment?.content.length ?? 0), 0);
        assert.equal(length, piece.length * times);
        raw.close();
        other.close();
    } finally {
        await daemon.stop();
    }
});

const endless = [[{ text: 'so far' }, { wait_ms: 600_000 }]];
scripted('unloading in the middle of a prediction: success with modelUnloaded', endless, async ({ client, model, wire }) => {
    const prediction = model.respond('hi');
    for await (const _ of prediction) break;
    await client.llm.unload(key);
    const { content, stats } = await prediction.result();
    assert.deepEqual([content, stats.stopReason], ['so far', 'modelUnloaded']);
    assert.equal(messages(wire).at(-1).modelInfo.identifier, key);
});

scripted('unloading before the first word: the model has already been unloaded', [[{ wait_ms: 600_000 }]], async ({ client, model, daemon }) => {
    const rejected = messageOf(model.respond('hi'));
    await until(async () => (await client.llm.listLoaded()).length === 1, 'it is there');
    await client.llm.unload(key);
    assert.match(await rejected, /This model has already been unloaded/);
    assert.equal(daemon.engines().length, 0);
});

for (const [what, fake, open] of [
    ['a prediction', { jobs: endless }, async (raw) => {
        const load = raw.channel('getOrLoad', { identifier: key, loadConfigStack: stack() });
        await load.ended();
        const modelSpecifier = byReference(load.messages().at(-1).info.instanceReference);
        await raw.channel('predict', { modelSpecifier, history: history('hi'), predictionConfigStack: stack() }).message('fragment');
    }],
    ['a load', { load: [{ progress: 0.5 }, { wait_ms: 600_000 }] }, (raw) => raw.channel('loadModel', { modelKey: key, loadConfigStack: stack() }).message('progress')],
])
    test(`the daemon ends in good order in the middle of ${what} and of a log stream`, { timeout: 60_000 }, async () => {
        const daemon = await startDaemon({ http: false, fake });
        const raw = await openRaw(daemon.localWs, 'llm'), logs = await openRaw(daemon.localWs, 'diagnostics');
        logs.channel('streamLogs');
        await open(raw);
        await daemon.stop(); // checks the exit, the engines and the address checker
        await raw.closed;
        await logs.closed;
    });

// ---- tools -------------------------------------------------------------------------------------------------------------------------

const callOf = (index, name, args, id = `id${index}`) => [
    { delta: { deltas: [{ call: index, id, name, args: args.slice(0, 4) }], tokens: 1 } },
    { delta: { deltas: [{ call: index, args: args.slice(4) }], tokens: 3 } },
];
const called = { done: { reason: 'call' } };

scripted('sdk-071 act() with one tool', [[{ text: 'Let me see. ' }, ...callOf(0, 'add', '{"a":1,"b":2}'), called], [{ text: 'It is 3.' }, { done: {} }]],
    async ({ model, sdk, wire }) => {
        const { z } = await import('zod');
        const seen = [];
        const add = sdk.tool({ name: 'add', description: 'Adds', parameters: { a: z.number(), b: z.number() }, implementation: ({ a, b }) => (seen.push({ a, b }), a + b) });
        const result = await model.act('what is 1+2', [add]);
        assert.deepEqual(seen, [{ a: 1, b: 2 }]);
        assert.equal(result.rounds, 2);
        const rounds = wire.filter((f) => f.frame.endpoint === 'predict').map((f) => f.frame.creationParameter);
        const parts = rounds[1].history.messages.flatMap((m) => m.content);
        assert.equal(parts.find((p) => p.type === 'toolCallRequest').toolCallRequest.id, 'id0');
        assert.equal(parts.find((p) => p.type === 'toolCallResult').toolCallId, 'id0');
        // sdk-073, sdk-074: the call is in no fragment, and its pieces are its arguments.
        const first = messages(wire).slice(0, messages(wire).findIndex((m) => m.type === 'success' && m.stats) + 1);
        assert.equal(first.filter((m) => m.type === 'fragment').map((m) => m.fragment.content).join(''), 'Let me see. ');
        const pieces = first.filter((m) => m.type === 'toolCallGenerationArgumentFragmentGenerated').map((m) => m.content).join('');
        assert.deepEqual(JSON.parse(pieces), first.find((m) => m.type === 'toolCallGenerationEnd').toolCallRequest.arguments);
        assert.equal(first.at(-1).stats.stopReason, 'toolCalls');
    });

scripted('sdk-072 two calls in one turn', [[...callOf(0, 'f', '{"a":1}', 'one'), ...callOf(1, 'f', '{"a":2}', 'two'), called], [{ text: 'ok' }, { done: {} }]],
    async ({ model, sdk, wire }) => {
        const { z } = await import('zod');
        const f = sdk.tool({ name: 'f', description: 'F', parameters: { a: z.number() }, implementation: ({ a }) => a });
        await model.act('go', [f]);
        const starts = messages(wire).filter((m) => m.type === 'toolCallGenerationStart').map((m) => m.toolCallId);
        const ends = messages(wire).filter((m) => m.type === 'toolCallGenerationEnd').map((m) => m.toolCallRequest.id);
        assert.deepEqual([starts, ends], [['one', 'two'], ['one', 'two']]);
    });

scripted('sdk-075 a call that is no JSON', [[...callOf(0, 'f', '{"a": oh'), called]], async ({ model, sdk, wire }) => {
    const { z } = await import('zod');
    const f = sdk.tool({ name: 'f', description: 'F', parameters: { a: z.number() }, implementation: ({ a }) => a });
    assert.match(await messageOf(model.act('go', [f])), /The arguments of the tool call are no JSON object/);
    const failed = messages(wire).find((m) => m.type === 'toolCallGenerationFailed');
    assert.equal(failed.error.stack, '');
    assert.match(failed.rawContent, /oh/);
});

// ---- logs --------------------------------------------------------------------------------------------------------------------------

const start = { start: { prompt: '<|im_start|>user\nhi' } };
scripted('sdk-084 the log stream has the prompt and, in 2.0, the reply', [[start, { text: 'Hello' }, { text: ' world' }, { done: {} }]],
    async ({ client, model, version, wire }) => {
        const seen = [];
        const stop = client.diagnostics.unstable_streamLogs((log) => seen.push(log));
        await until(() => wire.some((f) => f.frame.endpoint === 'streamLogs'), 'the stream is asked for');
        await until(async () => {
            await model.respond('hi');
            return seen.some((log) => log.data.type === 'llm.prediction.input');
        }, 'a prompt is seen');
        const input = seen.find((log) => log.data.type === 'llm.prediction.input');
        assert.match(input.data.input, /im_start/);
        assert.equal(input.data.modelIdentifier, key);
        assert.equal(input.data.modelPath, 'atelier/demo/atelier-demo.gguf');
        assert.ok(Math.abs(input.timestamp - Date.now()) < 60_000);
        if (version === '2.0.0') {
            await until(() => seen.some((log) => log.data.type === 'llm.prediction.output'), 'a reply is seen');
            const output = seen.find((log) => log.data.type === 'llm.prediction.output');
            assert.equal(output.data.output, 'Hello world');
            assert.equal(output.data.stats.stopReason, 'eosFound');
        }
        stop();
        await until(() => wire.some((f) => f.space === 'diagnostics' && f.frame.type === 'channelClose'), 'the channel is closed');
    }, { warnings: true });
