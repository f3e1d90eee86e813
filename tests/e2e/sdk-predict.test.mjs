// sdk.md 7.3: predictions by the real engine and the demo model.
import assert from 'node:assert/strict';
import test, { after } from 'node:test';
import { z } from 'zod';
import { startDaemon, until } from './lib/daemon.mjs';
import { both, byReference, history, messageOf, openRaw, stack } from './lib/sdk.mjs';

const daemon = await startDaemon({ http: false });
after(() => daemon.stop());

const key = 'atelier-demo';
const story = 'Tell me a long story about a lighthouse.';
const model = (client) => client.llm.model(key, { verbose: false });
const messages = (wire) => wire.filter((f) => f.from === 'server' && f.frame.type === 'channelSend').map((f) => f.frame.message);
const success = (wire) => messages(wire).filter((m) => m.type === 'success' && m.stats).at(-1);
const valueOf = (config, name) => config.fields.find((field) => field.key === `llm.prediction.${name}`).value;
const isFragment = (m) => m.type === 'fragment';

async function collect(prediction) {
    const fragments = [];
    for await (const fragment of prediction) fragments.push(fragment);
    return { fragments, result: await prediction.result() };
}

both(daemon, 'sdk-052 the fragments joined are the content', async ({ client }) => {
    const { fragments, result } = await collect((await model(client)).respond('hi', { maxTokens: 30 }));
    assert.ok(fragments.length > 1);
    assert.equal(fragments.map((f) => f.content).join(''), result.content);
    assert.ok(result.content.length > 0);
});

both(daemon, 'sdk-053 progress, fragments, one success, close', async ({ client, wire }) => {
    await (await model(client)).respond('What is 17 + 25?', { maxTokens: 10 });
    // Its own channel alone: the close of the one that loaded the model may come any time.
    const { channelId } = wire.find((f) => f.frame.type === 'channelCreate' && f.frame.endpoint === 'predict').frame;
    const ours = () => wire.filter((f) => f.from === 'server' && f.frame.channelId === channelId).map((f) => f.frame);
    await until(() => ours().some((frame) => frame.type === 'channelClose'), 'the channel is closed');
    const server = ours();
    const kinds = server.map((f) => f.message?.type ?? f.type);
    const squeezed = kinds.filter((kind, i) => kind !== kinds[i - 1]);
    assert.deepEqual(squeezed, ['promptProcessingProgress', 'fragment', 'success', 'channelClose']);
    assert.equal(kinds.filter((kind) => kind === 'success').length, 1);
    const progress = server.filter((f) => f.message?.type === 'promptProcessingProgress').map((f) => f.message.progress);
    assert.equal(progress.at(-1), 1);
    assert.deepEqual([...progress].sort((a, b) => a - b), progress);
});

both(daemon, 'sdk-054 the statistics add up', async ({ client }) => {
    const { stats, modelInfo } = await (await model(client)).respond('hi', { maxTokens: 20 });
    assert.ok(['eosFound', 'maxPredictedTokensReached'].includes(stats.stopReason), stats.stopReason);
    assert.ok(stats.promptTokensCount > 0 && stats.predictedTokensCount > 0);
    assert.equal(stats.totalTokensCount, stats.promptTokensCount + stats.predictedTokensCount);
    assert.ok(Number.isFinite(stats.tokensPerSecond ?? 1) && Number.isFinite(stats.timeToFirstTokenSec ?? 1));
    assert.equal(modelInfo.identifier, key);
});

both(daemon, 'sdk-055 maxTokens', async ({ client }) => {
    const { stats } = await (await model(client)).respond(story, { maxTokens: 5 });
    assert.equal(stats.stopReason, 'maxPredictedTokensReached');
    assert.equal(stats.predictedTokensCount, 5);
});

both(daemon, 'sdk-056 a stop string ends it and is not in it', async ({ client, wire }) => {
    const one = await model(client);
    const whole = (await one.respond('What is 17 + 25?', { temperature: 0, maxTokens: 40 })).nonReasoningContent;
    const stop = whole.trim().slice(2, 4);
    const { content, stats } = await one.respond('What is 17 + 25?', { temperature: 0, maxTokens: 40, stopStrings: [stop] });
    assert.equal(stats.stopReason, 'stopStringFound');
    assert.equal(success(wire).stats.stopString, stop); // 1.5 does not pass it on
    assert.ok(!content.includes(stop), content);
    assert.ok(whole.startsWith(content.trimStart()) || whole.includes(content.trim()), `${whole} / ${content}`);
});

both(daemon, 'sdk-057 stopAtLimit stops when the context is full', async ({ client }) => {
    const small = await client.llm.load(key, { verbose: false, identifier: 'small', config: { contextLength: 128 } });
    try {
        // Temperature high, no filter: the end token is one of a thousand.
        const { stats } = await small.complete('Once upon a time', {
            contextOverflowPolicy: 'stopAtLimit', temperature: 2, topKSampling: 0, topPSampling: false, minPSampling: false,
            raw: { fields: [{ key: 'llm.prediction.llama.logitBias', value: await endTokens(small) }] },
        });
        assert.equal(stats.stopReason, 'contextLengthReached');
        assert.ok(stats.totalTokensCount <= 128);
    } finally {
        await small.unload();
    }
});

/** Biases that ban every token that could end the generation. */
async function endTokens(one) {
    const ids = new Set();
    for (const text of ['<|im_end|>', '<|endoftext|>', '<|im_start|>']) {
        const tokens = await one.tokenize(text);
        if (tokens.length === 1) ids.add(tokens[0]);
    }
    return [...ids].map((id) => [id, '-inf']);
}

both(daemon, 'sdk-058 cancel() resolves with userStopped and the text so far', async ({ client }) => {
    const prediction = (await model(client)).respond(story);
    let text = '';
    for await (const { content } of prediction) {
        text += content;
        if (text.length > 10) break;
    }
    await prediction.cancel();
    const result = await prediction.result();
    assert.equal(result.stats.stopReason, 'userStopped');
    assert.ok(result.content.startsWith(text));
});

both(daemon, 'sdk-058 an AbortSignal does the same', async ({ client }) => {
    const abort = new AbortController();
    let n = 0;
    const result = await (await model(client)).respond(story, { signal: abort.signal, onPredictionFragment: () => ++n === 3 && abort.abort() });
    assert.equal(result.stats.stopReason, 'userStopped');
    assert.ok(result.content.length > 0);
});

both(daemon, 'sdk-059 a signal that was aborted beforehand', async ({ client, wire }) => {
    const one = await model(client);
    const result = await one.respond(story, { signal: AbortSignal.abort() }).catch((error) => error);
    // The client may reject by itself; what counts is the wire.
    await until(() => success(wire), 'success');
    assert.equal(success(wire).stats.stopReason, 'userStopped');
    assert.ok(result);
});

both(daemon, 'sdk-060 thoughts and answer are told apart', async ({ client, wire }) => {
    const one = await model(client);
    const result = await one.respond('What is 12 + 30? /think', { temperature: 0, maxTokens: 300 });
    const fragments = messages(wire).filter(isFragment).map((m) => m.fragment);
    const types = fragments.map((f) => f.reasoningType);
    assert.deepEqual(types.filter((type, i) => type !== types[i - 1]).slice(0, 3), ['reasoningStartTag', 'reasoning', 'reasoningEndTag']);
    for (const fragment of fragments) assert.equal(fragment.isStructural, /Tag$/.test(fragment.reasoningType));
    assert.ok(result.reasoningContent.length > 0);
    assert.doesNotMatch(result.reasoningContent, /think>/);
    assert.doesNotMatch(result.nonReasoningContent, /think>/);
    assert.ok(!result.nonReasoningContent.includes(result.reasoningContent.trim()));
    assert.match(result.content, /^\s*<think>[^]*<\/think>/);
});

both(daemon, 'sdk-061 the details of the progress add up', async ({ client }) => {
    const told = [];
    await (await model(client)).respond(`${'word '.repeat(300)}`, { maxTokens: 2, onPromptProcessingProgress: (progress, details) => told.push({ progress, details }) });
    assert.ok(told.length > 0);
    for (const { details: d } of told) {
        assert.equal(d.cachedTokenCount + d.processedPromptTokenCount + d.unprocessedPromptTokenCount, d.totalPromptTokenCount, JSON.stringify(d));
        assert.ok(d.totalPromptTokenCount > 300);
    }
    assert.equal(told.at(-1).progress, 1);
}, { only: '2.0.0' });

both(daemon, 'sdk-062 the second identical prompt is cached', async ({ client, wire }) => {
    const one = await model(client);
    const text = `A prompt that nobody has sent before, number ${process.pid}. ${'word '.repeat(60)}`;
    const cached = () => messages(wire).filter((m) => m.details).at(-1).details.cachedTokenCount;
    await one.respond(text, { maxTokens: 2 });
    const first = cached();
    await one.respond(text, { maxTokens: 2 });
    assert.ok(cached() > first, `${first}, then ${cached()}`);
}, { only: '2.0.0' });

both(daemon, 'sdk-063 greedy with a seed gives the same text twice', async ({ client }) => {
    const one = await model(client);
    const options = { temperature: 0, maxTokens: 60, raw: { fields: [{ key: 'llm.prediction.seed', value: { checked: true, value: 7 } }] } };
    const [a, b] = [await one.respond(story, options), await one.respond(story, options)];
    assert.equal(a.content, b.content);
    assert.ok(a.content.length > 0);
});

both(daemon, 'sdk-064 samplers that are switched off are reported as off', async ({ client }) => {
    const one = await model(client);
    const result = await one.respond('hi', { maxTokens: 3, repeatPenalty: false, minPSampling: false, topPSampling: false });
    for (const name of ['repeatPenalty', 'minPSampling', 'topPSampling']) assert.equal(valueOf(result.predictionConfig, name).checked, false);
});

both(daemon, 'sdk-065 the result holds the values that were sent', async ({ client }) => {
    const options = { temperature: 0.3, topKSampling: 7, topPSampling: 0.8, minPSampling: 0.1, repeatPenalty: 1.3, maxTokens: 4, stopStrings: ['END'], contextOverflowPolicy: 'rollingWindow' };
    const { predictionConfig } = await (await model(client)).respond('hi', options);
    const boxed = (value) => ({ checked: true, value });
    const expected = { temperature: 0.3, topKSampling: 7, topPSampling: boxed(0.8), minPSampling: boxed(0.1), repeatPenalty: boxed(1.3), maxPredictedTokens: boxed(4), stopStrings: ['END'], contextOverflowPolicy: 'rollingWindow' };
    for (const [name, value] of Object.entries(expected)) assert.deepEqual(valueOf(predictionConfig, name), value, name);
});

both(daemon, 'sdk-066 complete() continues without a template', async ({ client, wire, version }) => {
    const one = await model(client);
    const result = await one.complete('What is', { maxTokens: 5, temperature: 0 });
    assert.equal(result.stats.predictedTokensCount, 5);
    const endpoints = wire.filter((f) => f.frame.type === 'channelCreate' && f.space === 'llm').map((f) => f.frame.endpoint);
    assert.equal(endpoints.at(-1), version === '2.0.0' ? 'completeRawText' : 'predict');
    const expected = await one.countTokens('What is');
    assert.ok(result.stats.promptTokensCount <= expected + 1, `${result.stats.promptTokensCount} tokens: a template was applied`);
});

both(daemon, 'sdk-067 four at once finish, interleaved', async ({ client, wire }) => {
    const one = await model(client);
    const results = await Promise.all([1, 2, 3, 4].map((n) => one.respond(`${story} (${n})`, { maxTokens: 60 })));
    for (const { content } of results) assert.ok(content.length > 0);
    const channels = wire.filter((f) => f.frame.message?.type === 'fragment').map((f) => f.frame.channelId);
    assert.equal(new Set(channels).size, 4);
    const changes = channels.filter((id, i) => i > 0 && id !== channels[i - 1]).length;
    assert.ok(changes > 3, `${changes} changes: they ran one after the other`);
});

both(daemon, 'sdk-068 the engine is killed in the middle; the next respond() works', async ({ client, sent }) => {
    const one = await model(client);
    const prediction = one.respond(story);
    for await (const _ of prediction) break;
    const rejected = messageOf(prediction.result());
    for (const pid of daemon.engines()) process.kill(pid, 'SIGKILL');
    assert.match(await rejected, /Failed to predict/);
    const [{ error }] = sent('channelError');
    assert.equal(typeof error.cause, 'string');
    assert.ok((await one.respond('hi', { maxTokens: 5 })).content.length > 0);
});

both(daemon, 'sdk-069 no fragment holds half a character', async ({ client, wire }) => {
    const one = await model(client);
    const text = 'Zürich, 東京, 🙂🙂'; // no vocabulary of a thousand tokens has these characters whole
    const { content } = await one.respond('hi', { structured: { type: 'gbnf', gbnfGrammar: `root ::= "${text}"` } });
    assert.equal(content, text);
    for (const { fragment } of messages(wire).filter(isFragment)) assert.doesNotMatch(fragment.content, /\uFFFD/);
});

both(daemon, 'a schema that cannot be enforced is refused by the path of its keyword, not ignored', async ({ client }) => {
    const one = await model(client);
    const jsonSchema = { type: 'object', properties: { n: { type: 'integer', multipleOf: 7 } } };
    assert.match(await messageOf(one.respond('hi', { structured: { type: 'json', jsonSchema } }).result()), /jsonSchema\.properties\.n\.multipleOf/);
});

both(daemon, 'sdk-051 the processing state follows the prediction', async ({ client }) => {
    const one = await model(client);
    const prediction = one.respond(story);
    for await (const _ of prediction) break;
    assert.equal((await one.getInstanceProcessingState()).status, 'generating');
    await prediction.cancel();
    await prediction.result();
    assert.equal((await one.getInstanceProcessingState()).status, 'idle');
}, { only: '2.0.0' });

test('sdk-016 a client that drops in the middle frees its place; the model stays', async () => {
    const raw = await openRaw(daemon.localWs, 'llm');
    const load = raw.channel('getOrLoad', { identifier: key, loadConfigStack: { layers: [] } });
    await load.ended();
    const { instanceReference } = load.messages().at(-1).info;
    const channel = raw.channel('predict', { modelSpecifier: byReference(instanceReference), history: history(story), predictionConfigStack: stack() });
    await channel.message('fragment');
    raw.close();
    const watcher = await openRaw(daemon.localWs, 'llm');
    const state = async () => {
        const { result } = await watcher.call('getInstanceProcessingState', { specifier: byReference(instanceReference), throwIfNotFound: true });
        return result.status === 'idle' && result.queued === 0;
    };
    await until(state, 'its place is free');
    assert.equal((await watcher.call('listLoaded')).result.length, 1);
    watcher.close();
});

both(daemon, 'sdk-070 log probabilities come with the tokens', async ({ client, wire, version }) => {
    const one = await model(client);
    const raw = { fields: [{ key: 'llm.prediction.logProbs', value: { checked: true, value: 3 } }] };
    await one.respond('hi', { maxTokens: 6, raw });
    const fragments = messages(wire).filter(isFragment);
    const tokens = fragments.flatMap((m) => m.fragment.tokens ?? []);
    assert.ok(tokens.length > 0, version);
    for (const { id, text, logProb, candidates } of tokens) {
        assert.ok(Number.isInteger(id) && typeof text === 'string' && logProb <= 0);
        assert.ok(candidates.length <= 3 && candidates.length > 0);
    }
});

both(daemon, 'sdk-080 tokenize and countTokens agree, arrays keep their order', async ({ client }) => {
    const one = await model(client);
    const texts = ['hello', 'a somewhat longer text', '', 'ü🙂'];
    const lists = await one.tokenize(texts);
    assert.equal(lists.length, texts.length);
    for (const [i, text] of texts.entries()) assert.equal(await one.countTokens(text), lists[i].length, text);
    assert.ok(lists[1].length > lists[0].length);
});

both(daemon, 'sdk-081 the template holds the text and ends with the generation prompt', async ({ client, sdk }) => {
    const one = await model(client);
    const text = await one.applyPromptTemplate(sdk.Chat.from('a very special text'));
    assert.match(text, /a very special text/);
    assert.match(text, /<\|im_start\|>assistant\n/);
});

both(daemon, 'sdk-082 embeddings of one length, in order', async ({ client }) => {
    const embedder = await client.embedding.model('text-embedding-atelier-demo-embed', { verbose: false });
    const [a, b] = await embedder.embed(['a house by the sea', 'computers']);
    assert.equal(a.embedding.length, b.embedding.length);
    const single = await embedder.embed('computers');
    const distance = Math.max(...single.embedding.map((value, i) => Math.abs(value - b.embedding[i])));
    assert.ok(distance < 1e-3, String(distance));
    assert.notDeepEqual(a.embedding, b.embedding);
});

// ---- tools and structure, as far as issue A carries them -----------------------------------------------------------------------------

both(daemon, 'sdk-071 act() with the demo model: two calls, then an answer', async ({ client, sdk }) => {
    const places = [];
    const weather = sdk.tool({
        name: 'get_weather', description: 'The weather at a place', parameters: { location: z.string() },
        implementation: ({ location }) => (places.push(location), `sunny in ${location}`),
    });
    const result = await (await model(client)).act('What is the weather in Paris and Rome?', [weather], { temperature: 0, maxPredictionRounds: 3 });
    assert.deepEqual(places, ['Paris', 'Rome']);
    assert.equal(result.rounds, 2);
});

both(daemon, 'sdk-077 tools are shown under plain names and reported under their own', async ({ client, wire }) => {
    const tools = [{ type: 'function', function: { name: 'get weather!', parameters: { type: 'object', properties: { location: { type: 'string' } }, required: ['location'] } } }];
    const one = await model(client);
    await one.respond('What is the weather in Paris?', {
        temperature: 0, maxTokens: 60,
        raw: { fields: [{ key: 'llm.prediction.tools', value: { type: 'toolArray', tools } }, { key: 'llm.prediction.toolChoice', value: { type: 'generic', mode: 'required' } }] },
    });
    const { toolCallRequest } = messages(wire).find((m) => m.type === 'toolCallGenerationEnd');
    assert.deepEqual([toolCallRequest.name, toolCallRequest.arguments], ['get weather!', { location: 'Paris' }]);
    assert.ok(!messages(wire).some((m) => isFragment(m) && m.fragment.content.includes('get')));
});

both(daemon, 'sdk-078 a zod schema gives a value that fits', async ({ client }) => {
    const structured = z.object({ name: z.string(), age: z.number().int(), married: z.boolean() });
    const { parsed } = await (await model(client)).respond('Ada is 36 and married.', { structured, maxTokens: 100 });
    assert.deepEqual(Object.keys(parsed), ['name', 'age', 'married']);
    structured.parse(parsed);
});
