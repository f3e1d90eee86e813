// sdk.md 3 and 4: frames, what is unknown or wrong, errors.
import assert from 'node:assert/strict';
import test, { after } from 'node:test';
import { startDaemon, until } from './lib/daemon.mjs';
import { both, byReference, checkWire, messageOf, openRaw, stack } from './lib/sdk.mjs';

const daemon = await startDaemon({ http: false });
after(() => daemon.stop());

const raw = (space) => openRaw(daemon.localWs, space);
const warningsIn = (connection) => connection.frames.filter((f) => f.type === 'communicationWarning');

both(daemon, 'sdk-019 notify is answered without a result', async ({ client, sent }) => {
    await client.system.notify({ title: 'a title', description: 'text' });
    assert.deepEqual(sent('rpcResult'), [{ type: 'rpcResult', callId: 0 }]);
});

test('sdk-020 getModelInfo of nothing is answered without a result', async () => {
    const connection = await raw('llm');
    const nothing = { specifier: { type: 'query', query: { identifier: 'nope' } }, throwIfNotFound: false };
    assert.deepEqual(await connection.call('getModelInfo', nothing, 7), { type: 'rpcResult', callId: 7 });
    assert.deepEqual(await connection.call('getInstanceProcessingState', nothing, 8), { type: 'rpcResult', callId: 8 });
    connection.close();
});

both(daemon, 'sdk-020 the SDK returns undefined for a model that is not there', async ({ client, sent }) => {
    assert.equal(await client.llm.createDynamicHandle({ identifier: 'nope' }).getModelInfo(), undefined);
    assert.deepEqual(sent('rpcResult'), [{ type: 'rpcResult', callId: 0 }]);
});

test('sdk-021 no null but where the type has one', async () => {
    const connection = await raw('system'), link = await raw('repository');
    await connection.call('listDownloadedModels');
    await connection.call('listDownloadedModelVariants', { modelKey: 'atelier-demo' });
    await connection.call('info');
    await link.call('lmLinkStatus');
    for (const one of [connection, link]) {
        checkWire([...one.frames.filter((f) => f.callId !== undefined).flatMap((frame) => [
            { connection: 0, from: 'client', frame: { type: 'rpcCall', callId: frame.callId } },
            { connection: 0, from: 'server', frame },
        ])]);
        one.close();
    }
});

both(daemon, 'sdk-022 neither side warns about what the other says', async ({ client }) => {
    await client.system.listDownloadedModels();
    await client.llm.listLoaded();
    await client.embedding.listLoaded();
    await client.system.getLMStudioVersion();
    assert.doesNotMatch(daemon.stderr(), /communicationWarning/);
});

test('sdk-023 an unknown rpc endpoint: a warning and an error, then the next call works', async () => {
    const connection = await raw('llm');
    const answer = await connection.call('fooBar', { a: 1 });
    assert.equal(answer.type, 'rpcError');
    assert.equal(answer.error.title, 'Unknown endpoint "fooBar"');
    assert.equal(answer.error.rootTitle, answer.error.title);
    const [warning, ...more] = warningsIn(connection);
    assert.deepEqual([warning.kind, more.length], ['rpcEndpointUnknown', 0]);
    assert.match(warning.warning, /fooBar/);
    assert.equal((await connection.call('listLoaded')).type, 'rpcResult');
    // The endpoint of another namespace is as unknown; a channel is no rpc.
    assert.equal((await connection.call('listDownloadedModels')).error.title, 'Unknown endpoint "listDownloadedModels"');
    assert.equal((await connection.call('predict', {})).error.title, 'Unknown endpoint "predict"');
    connection.close();
});

test('sdk-024 an unknown channel endpoint: a warning and an error', async () => {
    const connection = await raw('llm');
    const end = await connection.channel('fooBar').ended();
    assert.equal(end.type, 'channelError');
    assert.equal(end.error.title, 'Unknown endpoint "fooBar"');
    assert.deepEqual(warningsIn(connection).map((f) => f.kind), ['channelEndpointUnknown']);
    assert.equal((await connection.call('listLoaded')).type, 'rpcResult');
    connection.close();
});

test('sdk-025 a signal subscription is warned about, and the connection lives', async () => {
    const connection = await raw('llm');
    connection.send({ type: 'signalSubscribe', endpoint: 'x', subscribeId: 0 });
    connection.send({ type: 'writableSignalSubscribe', endpoint: 'y', subscribeId: 0 });
    connection.send({ type: 'signalUnsubscribe', subscribeId: 0 });
    assert.equal((await connection.call('listLoaded')).type, 'rpcResult');
    assert.deepEqual(warningsIn(connection).map((f) => f.kind), ['signalEndpointUnknown', 'writableSignalEndpointUnknown']);
    connection.close();
});

test('sdk-026 a bad parameter is an error that names the member', async () => {
    const llm = await raw('llm'), system = await raw('system');
    const cases = [
        [llm, 'unloadModel', undefined, 'parameter is missing'],
        [llm, 'unloadModel', {}, 'identifier is missing'],
        [llm, 'unloadModel', { identifier: null }, 'identifier must be'],
        [llm, 'getModelInfo', { specifier: { type: 'query' }, throwIfNotFound: true }, 'specifier.query is missing'],
        [llm, 'getModelInfo', { specifier: { type: 'query', query: {} } }, 'throwIfNotFound is missing'],
        [llm, 'getModelInfo', { specifier: { type: 'x' }, throwIfNotFound: true }, 'specifier.type is not known'],
        [system, 'startHttpServer', { port: 65536 }, 'port must be a whole number from 0 to 65535'],
        [system, 'startHttpServer', { port: 1.5 }, 'port must be a whole number'],
        [system, 'setExperimentFlag', { code: 'x', value: 'yes' }, 'value must be true or false'],
    ];
    for (const [connection, endpoint, parameter, text] of cases) {
        const { type, error } = await connection.call(endpoint, parameter);
        assert.equal(type, 'rpcError');
        assert.ok(error.title.includes(text), `${endpoint}: ${error.title}`);
    }
    assert.deepEqual(new Set(warningsIn(llm).map((f) => f.kind)), new Set(['rpcParameterTypeError']));

    const end = await llm.channel('loadModel', { modelKey: 'atelier-demo' }).ended();
    assert.match(end.error.title, /loadConfigStack is missing/);
    const bad = await llm.channel('loadModel', { modelKey: 'atelier-demo', loadConfigStack: stack(['llm.load.contextLength', 'big']) }).ended();
    assert.match(bad.error.title, /llm\.load\.contextLength must be a whole number/);
    llm.close();
    system.close();
});

test('sdk-027 a warning of a client is logged and not answered', async () => {
    const connection = await raw('llm');
    connection.send({ type: 'communicationWarning', warning: 'something was strange here' });
    assert.equal((await connection.call('listLoaded')).type, 'rpcResult');
    assert.equal(connection.frames.length, 2, JSON.stringify(connection.frames)); // the authentication, and this answer
    await until(() => /communicationWarning 1\): something was strange here/.test(daemon.stderr()), 'it is logged');
    connection.close();
});

test('sdk-028 a message for a channel that is closed or was never there is nothing', async () => {
    const connection = await raw('llm');
    const channel = connection.channel('getOrLoad', { identifier: 'no-such-model', loadConfigStack: { layers: [] } });
    await channel.ended();
    const before = connection.frames.length;
    channel.send({ type: 'cancel' });
    connection.send({ type: 'channelSend', channelId: 999, message: { type: 'cancel' } });
    connection.send({ type: 'channelSend', message: {} });
    assert.equal((await connection.call('listLoaded')).type, 'rpcResult');
    assert.equal(connection.frames.length, before + 1);
    connection.close();
});

test('sdk-029 no JSON, or a frame of unknown type, does not close the connection', async () => {
    const connection = await raw('llm');
    for (const frame of ['{"type":', '', '[]', '"text"', '17', '{}', '{"type":17}', '{"type":"whatIsThis"}', '{"type":"rpcCall"}',
        '{"type":"rpcCall","endpoint":"listLoaded"}', '{"type":"channelCreate","endpoint":"predict","channelId":"x"}',
        '['.repeat(100_000)])
        connection.send(frame);
    assert.equal((await connection.call('listLoaded')).type, 'rpcResult');
    connection.close();
});

test('sdk-029 a flood of garbage is not answered by a flood', async () => {
    const connection = await raw('llm');
    for (let i = 0; i < 5000; i++) connection.send('garbage');
    assert.equal((await connection.call('listLoaded')).type, 'rpcResult');
    assert.ok(connection.frames.length < 100, String(connection.frames.length));
    connection.close();
});

test('sdk-030 every error has a title and a root title', async () => {
    const llm = await raw('llm'), files = await raw('files');
    const query = { type: 'query', query: {} };
    const errors = [
        (await llm.call('getModelInfo', { specifier: query, throwIfNotFound: true })).error,
        (await llm.call('getLoadConfig', { specifier: byReference('gone') })).error,
        (await llm.call('unloadModel', { identifier: 'gone' })).error,
        (await llm.call('estimateModelUsage', {})).error,
        (await llm.call('nope')).error,
        (await llm.channel('loadModel', { modelKey: 'gone', loadConfigStack: { layers: [] } }).ended()).error,
        (await files.call('uploadFileBase64', { name: 'a', contentBase64: '' })).error,
    ];
    for (const error of errors) {
        assert.equal(typeof error.title, 'string', JSON.stringify(error));
        assert.equal(typeof error.rootTitle, 'string', JSON.stringify(error));
    }
    llm.close();
    files.close();
});

test('an endpoint that is not offered fails politely, without a warning', async () => {
    const connection = await raw('runtime');
    const { error } = await connection.call('searchRuntimeExtensions', { query: '', includeIncompatible: true });
    assert.equal(error.title, 'searchRuntimeExtensions is not available in this server');
    const plugins = await raw('plugins');
    assert.equal((await plugins.channel('setGenerator').ended()).error.title, 'setGenerator is not available in this server');
    assert.equal(warningsIn(connection).length + warningsIn(plugins).length, 0);
    connection.close();
    plugins.close();
});

test('an id that is in use is not answered twice', async () => {
    const connection = await raw('system');
    connection.channel('alive', undefined, 3);
    connection.channel('alive', undefined, 3);
    assert.equal((await connection.next((f) => f.type === 'communicationWarning')).kind, 'channelAlreadyOpen');
    assert.equal((await connection.call('version', undefined, 3)).type, 'rpcResult'); // an rpc of the same id is another call
    assert.equal(connection.frames.filter((f) => f.channelId === 3).length, 0);
    connection.close();
});

test('a message with an ackId is acknowledged', async () => {
    const connection = await raw('diagnostics');
    connection.send({ type: 'channelCreate', endpoint: 'streamLogs', channelId: 0 });
    connection.send({ type: 'channelSend', channelId: 0, ackId: 4, message: { type: 'stop' } });
    assert.deepEqual(await connection.next((f) => f.type === 'channelAck'), { type: 'channelAck', channelId: 0, ackId: 4 });
    await connection.next((f) => f.type === 'channelClose');
    connection.close();
});

both(daemon, 'sdk-023 the client of an unknown endpoint fails at once and goes on', async ({ client }) => {
    // What a newer client might call: the port that all calls of a namespace go through.
    assert.match(await messageOf(client.files.prepareImageBase64('a.png', 'iVBORw0KGgo=')), /uploadFileBase64 is not available in this server/);
    assert.deepEqual(await client.llm.listLoaded(), []);
});
