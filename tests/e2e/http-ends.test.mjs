// http.md 1.4, 1.8, 1.9, 2.8: waiting, leaving, dying: what a client sees when things do not go their way.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import OpenAI from 'openai';
import { startDaemon, until } from './lib/daemon.mjs';
import { ask, chat, chatText, client, events, ggufMetadata, openaiError, raw, readStream, user } from './lib/http.mjs';

/** Runs @body with a daemon over a fake engine that plays @script. */
const withFake = (script, body, more = {}) => async (t) => {
    const d = await startDaemon({ fake: script, ...more });
    try {
        await body(d, t);
    } finally {
        await d.stop();
    }
};
const said = (d, words) => until(() => d.stderr().includes(words), words);
const postBytes = (body) => {
    const text = JSON.stringify(body);
    return `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
};

test('http-015 what will fail again is asked once; a dead engine up to three times', withFake(
    { jobs: [[{ start: {} }, { exit: 3 }]] },
    async (d) => {
        for (const bad of [{ messages: [] }, { model: 'nope' }, { temperature: 9 }, { preset: 'x' }]) {
            const openai = client(d);
            await assert.rejects(openai.chat.completions.create(ask(bad)), OpenAI.APIError);
            assert.equal(openai.requests, 1, JSON.stringify(bad));
        }
        const openai = client(d);
        await assert.rejects(openai.chat.completions.create(ask()), (error) => {
            assert.equal(error.status, 500);
            assert.equal(error.code, 'engine_error');
            assert.equal(error.headers.get('x-should-retry'), 'true');
            return true;
        });
        assert.equal(openai.requests, 3);
    },
));

test('http-043 five requests on four places: the fifth starts when one ends', withFake(
    { jobs: [
        [{ text: 'a' }, { wait_ms: 3000 }, { done: {} }],
        [{ text: 'a' }, { wait_ms: 60000 }, { done: {} }], [{ text: 'a' }, { wait_ms: 60000 }, { done: {} }],
        [{ text: 'a' }, { wait_ms: 60000 }, { done: {} }],
        [{ text: 'a' }, { done: {} }],
    ] },
    async (d) => {
        const order = [], cut = new AbortController();
        const run = async (i, started) => {
            for await (const event of events(await chat(d, ask({ stream: true }), { signal: cut.signal }))) {
                if (!order.includes(`${i} starts`)) order.push(`${i} starts`), started();
                if (event.data === '[DONE]') order.push(`${i} ends`);
            }
        };
        const streams = [];
        for (let i = 1; i <= 4; i++) await new Promise((started) => streams.push(run(i, started).catch(() => {})));
        await new Promise((started) => streams.push(run(5, started)));
        assert.deepEqual(order, ['1 starts', '2 starts', '3 starts', '4 starts', '1 ends', '5 starts']);
        await streams.at(-1);
        cut.abort();
        await Promise.all(streams);
    },
));

test('http-045 closing the socket of a queued request takes it out of the queue', withFake(
    { jobs: [
        ...Array.from({ length: 4 }, () => [{ text: 'a' }, { wait_cancel: true }, { done: { reason: 'cancelled' } }]),
        [{ stderr: 'THE FIFTH RUNS' }, { text: 'a' }, { done: {} }],
        [{ stderr: 'THE SIXTH RUNS' }, { text: 'six' }, { done: {} }],
    ] },
    async (d) => {
        const cuts = [];
        for (let i = 0; i < 4; i++) {
            const cut = new AbortController();
            cuts.push(cut);
            const answer = await chat(d, ask({ stream: true }), { signal: cut.signal });
            await events(answer).next();
        }
        const fifth = raw(d, postBytes(ask()));
        await until(() => d.stderr().includes('Received') || true, 'the fifth waits');
        await new Promise((resolve) => setTimeout(resolve, 300));
        fifth.socket.destroy();
        await said(d, 'Client disconnected');
        const sixth = chatText(d, ask());
        cuts[0].abort();
        assert.equal((await sixth).choices[0].message.content, 'six');
        assert.ok(!d.stderr().includes('THE FIFTH RUNS'), 'the fifth never ran');
        for (const cut of cuts) cut.abort();
    },
));

test('http-046 closing the socket of a request that does not stream stops it too', withFake(
    { jobs: [[{ start: {} }, { text: 'a' }, { wait_cancel: true }, { stderr: 'IT WAS CANCELLED' }, { done: { reason: 'cancelled' } }]] },
    async (d) => {
        for (const ending of ['destroy', 'end']) { // the second shuts down its writing side alone
            const before = d.stderr().split('IT WAS CANCELLED').length;
            const request = raw(d, postBytes(ask()));
            await until(() => d.engines().length === 1, 'the engine');
            await until(() => d.stderr().split('Running chat completion').length > before, 'it runs');
            request.socket[ending]();
            await until(() => d.stderr().split('IT WAS CANCELLED').length > before, `cancelled after ${ending}`);
            request.socket.destroy();
        }
    },
));

test('an abort in mid-stream stops decoding', withFake(
    { jobs: [[{ text: 'a', times: 100000, every_ms: 5 }, { done: {} }]] },
    async (d) => {
        const stream = await client(d).chat.completions.create(ask({ stream: true }));
        let n = 0;
        for await (const _ of stream) if (++n === 5) break; // the client aborts
        await said(d, 'Client disconnected');
    },
));

test('http-107 http-108 the engine dies in mid-stream: an error event, no [DONE]', withFake(
    { jobs: [[{ text: 'one ' }, { text: 'two' }, { wait_ms: 200 }, { kill: 9 }]] },
    async (d) => {
        const { events: all, content, done, finish } = await readStream(await chat(d, ask({ stream: true })));
        assert.equal(content, 'one two');
        assert.equal(done, false);
        assert.equal(finish, undefined);
        const last = all.at(-1);
        assert.equal(last.event, 'error');
        assert.ok(last.raw.startsWith('event: error\ndata: {"error":{"message":'), last.raw);
        const data = JSON.parse(last.data);
        assert.deepEqual(Object.keys(data.error), ['message', 'type', 'param', 'code']);
        assert.equal(data.error.code, 'engine_error');
        assert.equal(data.message, data.error.message);

        const stream = await client(d).chat.completions.create(ask({ stream: true }));
        await assert.rejects(async () => { for await (const _ of stream); }, (error) => {
            assert.ok(error instanceof OpenAI.APIError);
            assert.ok(error.message.includes(data.message), error.message);
            return true;
        });
    },
));

test('http-109 a long load with stream: true: headers and comments, then an ordinary stream', withFake(
    { load: [{ progress: 0.1 }, { wait_ms: 2500 }, { ready: {} }], jobs: [[{ text: 'Hi' }, { done: {} }]] },
    async (d) => {
        const got = [];
        const answer = await chat(d, ask({ stream: true }));
        assert.equal(answer.status, 200);
        for await (const event of events(answer)) got.push(event);
        const comments = got.findIndex((e) => !e.comment);
        assert.ok(comments >= 2, JSON.stringify(got));
        assert.ok(got.slice(0, comments).every((e) => e.raw === ': keep-alive'));
        assert.equal(JSON.parse(got[comments].data).choices[0].delta.role, 'assistant');
        assert.equal(got.at(-1).data, '[DONE]');
    },
    { env: { LMS_KEEPALIVE_MS: '400' } },
));

test('http-109 the official client is happy with comments before and between events', withFake(
    { load: [{ wait_ms: 1500 }, { ready: {} }], jobs: [[{ text: 'a' }, { wait_ms: 1500 }, { text: 'b' }, { done: {} }]] },
    async (d) => {
        let content = '';
        for await (const chunk of await client(d).chat.completions.create(ask({ stream: true }))) content += chunk.choices[0]?.delta.content ?? '';
        assert.equal(content, 'ab');
    },
    { env: { LMS_KEEPALIVE_MS: '300' } },
));

test('an error after the headers went out for waiting is an event', withFake(
    { load: [{ wait_ms: 1500 }, { fail: { kind: 'memory', message: 'no room' } }] },
    async (d) => {
        const got = [];
        for await (const event of events(await chat(d, ask({ stream: true })))) got.push(event);
        assert.equal(got[0].comment, 'keep-alive');
        assert.equal(got.at(-1).event, 'error');
        assert.equal(JSON.parse(got.at(-1).data).error.code, 'insufficient_memory');
        const error = await openaiError(await chat(d, ask()));
        assert.equal(error.status, 400);
        assert.equal(error.code, 'insufficient_memory');
        assert.equal(error.headers.get('x-should-retry'), 'false');
    },
    { env: { LMS_KEEPALIVE_MS: '300' } },
));

test('a client that never reads is held, not gathered for; others go on', withFake(
    { jobs: [[{ text: 'x'.repeat(4000), times: 100000 }, { done: {} }], [{ text: 'ok' }, { done: {} }]] },
    async (d) => {
        const slow = raw(d, postBytes(ask({ stream: true })));
        await until(() => slow.text().length > 0, 'the stream');
        slow.socket.pause();
        await new Promise((resolve) => setTimeout(resolve, 1500));
        assert.equal((await chatText(d, ask())).choices[0].message.content, 'ok');
        const { stdout } = await import('./lib/daemon.mjs').then(({ runProgram }) => runProgram('cat', [`/proc/${d.pid}/status`]));
        const resident = Number(/VmRSS:\s+(\d+)/.exec(stdout)[1]);
        assert.ok(resident < 400 * 1024, `${resident} KiB resident`);
        slow.socket.destroy();
    },
));

describe('the real engine', () => {
    let d, endless;
    before(async () => {
        d = await startDaemon();
        endless = (more) => ask({ messages: user('Tell me a story about a fox.'), max_tokens: 1500, stream: true,
            logit_bias: { [ggufMetadata()['tokenizer.ggml.eos_token_id']]: -100 }, ...more });
    });
    after(() => d?.stop());

    test('http-042 kill -9 of the engine in mid-stream: an error event, and the next request answers', async () => {
        const answer = await chat(d, endless());
        let n = 0, last;
        for await (const event of events(answer)) {
            if (++n === 3) process.kill(d.engines()[0], 'SIGKILL');
            last = event;
        }
        assert.equal(last.event, 'error');
        assert.equal(JSON.parse(last.data).error.code, 'engine_error');
        assert.equal((await chat(d, ask())).status, 200);
    });

    const long = user('one two three four '.repeat(150)); // of the 2048 tokens of context the most
    /** Runs @begin and waits until the engine has given one more request a place. */
    async function running(begin) {
        const lines = () => d.stderr().split('Running chat completion').length, before = lines();
        const begun = begin();
        await until(() => lines() > before, 'it runs');
        return begun;
    }

    test('http-001 the greeting is not held up by a long prompt', async () => {
        const order = [];
        await chatText(d, ask({ max_tokens: 1 }));
        const { slow } = await running(() => ({ slow: chatText(d, ask({ messages: long, max_tokens: 100 })).then((answer) => (order.push('answer'), answer)) }));
        assert.deepEqual(await (await d.fetch('/lmstudio-greeting')).json(), { lmstudio: true });
        order.push('greeting');
        assert.ok((await slow).usage.prompt_tokens > 1000);
        assert.deepEqual(order, ['greeting', 'answer']);
    });

    test('http-044 leaving frees the place: during generation and during a long prompt', async () => {
        for (const first of [endless(), endless({ messages: long, seed: 1 }), { ...endless({ messages: long, seed: 2 }), stream: false }]) {
            const left = d.stderr().split('Client disconnected').length;
            const cuts = [];
            for (const body of [endless(), endless(), endless(), first]) {
                const cut = new AbortController();
                cuts.push(cut);
                await running(() => { chat(d, body, { signal: cut.signal }).then((answer) => answer.text()).catch(() => {}); });
            }
            let early = true;
            const fifth = chatText(d, ask({ max_tokens: 2 })).then((answer) => (assert.ok(!early, 'it had to wait'), answer));
            await new Promise((resolve) => setTimeout(resolve, 100));
            early = false;
            cuts[3].abort();
            assert.equal((await fifth).usage.completion_tokens, 2);
            for (const cut of cuts) cut.abort();
            await until(() => d.stderr().split('Client disconnected').length === left + 4, 'the log');
        }
    });
});
