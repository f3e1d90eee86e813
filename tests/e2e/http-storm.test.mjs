// Many clients of all kinds at once: whatever they do, the server answers the others, and is whole afterwards.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { startDaemon, until } from './lib/daemon.mjs';
import { ask, chat, chatText, events, raw, readStream, user } from './lib/http.mjs';

/** The same numbers in every run. */
function numbers(seed) {
    return () => ((seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff);
}

const kinds = {
    whole: async (d) => assert.equal((await chatText(d, ask({ max_tokens: 8 }))).choices[0].finish_reason !== null, true),
    stream: async (d) => assert.ok((await readStream(await chat(d, ask({ max_tokens: 8, stream: true })))).done),
    many: async (d) => assert.equal((await chatText(d, ask({ max_tokens: 4, n: 3, temperature: 1 }))).choices.length, 3),
    bad: async (d) => assert.equal((await chat(d, ask({ temperature: 'x' }))).status, 400),
    broken: async (d) => assert.equal((await chat(d, '{"model":')).status, 400),
    unknown: async (d) => assert.equal((await chat(d, ask({ model: 'nope' }))).status, 404),
    list: async (d) => assert.equal((await d.fetch('/v1/models')).status, 200),
    async leaveAtOnce(d) {
        const text = JSON.stringify(ask({ stream: true }));
        raw(d, `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${text.length}\r\n\r\n${text}`).socket.destroySoon();
    },
    async leaveLater(d, random) {
        const cut = new AbortController();
        setTimeout(() => cut.abort(), random() * 300);
        const body = ask({ max_tokens: 200, stream: random() < 0.5, messages: user('Tell me a story about a fox.'), n: random() < 0.3 ? 2 : 1 });
        await chat(d, body, { signal: cut.signal }).then((answer) => answer.text()).catch(() => {});
    },
    async leaveInTheMiddle(d) {
        const stream = events(await chat(d, ask({ max_tokens: 200, stream: true, messages: user('Tell me a story about a boat.') })));
        await stream.next();
        await stream.return();
    },
};

test('100 clients of ten kinds, twelve at a time', async () => {
    const d = await startDaemon();
    try {
        const random = numbers(7), names = Object.keys(kinds);
        let left = 100;
        await Promise.all(Array.from({ length: 12 }, async () => {
            while (left-- > 0) {
                const name = names[Math.floor(random() * names.length)];
                await kinds[name](d, random).catch((error) => assert.fail(`${name}: ${error.stack}`));
            }
        }));
        assert.equal(d.engines().length, 1);
        await until(async () => (await chatText(d, ask({ max_tokens: 2 }))).usage.completion_tokens === 2, 'an answer');
    } finally {
        await d.stop();
    }
});

for (const ms of [0, 200, 1200]) // before the load, in it, in generation
    test(`the daemon ends in good order with twelve requests of ${ms} ms`, async () => {
        const d = await startDaemon();
        const open = [];
        for (let i = 0; i < 12; i++) {
            const body = ask({ max_tokens: 500, stream: i % 2 === 0, messages: user('Tell me a story about a fox.') });
            open.push(chat(d, body).then((answer) => answer.text()).catch(() => 'cut'));
        }
        await sleep(ms);
        await d.stop();
        await Promise.all(open);
    });
