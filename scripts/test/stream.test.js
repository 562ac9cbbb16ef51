// The parser of event streams (HTML, "Parsing an event stream"), as seen through a subscription.
import assert from 'node:assert/strict';
import test from 'node:test';
import { World, events, pass, record, settle } from './world.js';

const message = (n, data) => JSON.stringify({ id: `e1.${n}`, room: 'a', data });

const NASTY =
  '\uFEFFretry: 10\r\nretry: 1x\n: a comment\r' + // a BOM, every line end, a retry that is none
  'data: {"op":"ready","conn":"c","heartbeat":25}\r\n\r\n' +
  'event: ok\rdata:{"op":"ok","room":"a","cursor":"e1.0"}\r\r' + // no space
  `id: x\0y\nevent: message\ndata: ${message(1, 'one')}\n\n` + // an id with NUL is ignored
  `data: {"id":"e1.2","room":"a",\r\ndata: "data":"two"}\r\n\r\n` + // in two lines
  'id: 7\n\n' + // no data: no event
  'data\n\ndata:\n\n' + // empty data
  'datum: {"id":"e1.3","room":"a","data":"not data"}\n\n' +
  ' data: {"id":"e1.3","room":"a","data":"not data"}\n\n' +
  ':data: {"id":"e1.3","room":"a","data":"comment"}\n\n' +
  `data:  ${message(4, 'é€𝄞 ünïcödé')}\n\n` + // two spaces, two to four bytes a character
  `data: ${message(5, 'a: b')}\r\rdata: ${message(6, 'six')}\r\n\n` +
  `data: ${message(7, 'cut off')}\n`; // no empty line: never dispatched

const WANT = ['one', 'two', 'é€𝄞 ünïcödé', 'a: b', 'six'];

const read = async (t, chunks) => {
  const world = new World();
  try {
    const tab = await world.tab('/rt/', { transports: ['sse'], share: false });
    globalThis.fetch = async () =>
      new Response(
        new ReadableStream({
          start(controller) {
            for (const chunk of chunks) controller.enqueue(chunk);
          },
        }),
      );
    const got = record(tab.realtime.subscribe('a'));
    await pass(1);
    await settle();
    tab.realtime.close();
    return got;
  } finally {
    world.end();
  }
};

test('a stream cut in two at every byte', async (t) => {
  const bytes = new TextEncoder().encode(NASTY);
  for (let at = 0; at <= bytes.length; at++)
    assert.deepEqual(await read(t, [bytes.slice(0, at), bytes.slice(at)]), WANT, `cut at ${at}`);
});

test('a stream byte by byte', async (t) => {
  const bytes = new TextEncoder().encode(NASTY);
  assert.deepEqual(await read(t, Array.from(bytes, (byte) => Uint8Array.of(byte))), WANT);
});

test('retry says when to come back after an end', async (t) => {
  const world = new World();
  t.after(() => world.end());
  const { realtime } = await world.tab('/rt/', { transports: ['sse'], share: false });
  realtime.subscribe('a');
  await pass(100);
  assert.equal(realtime.state, 'open');
  for (const session of world.sessions) session.text('retry: 2000\n\n');
  await settle();
  world.dropAll();
  await settle();
  assert.equal(realtime.state, 'waiting');
  assert.equal(realtime.retryAt - Date.now(), 2000);
  await pass(2100);
  assert.equal(realtime.state, 'open');
});

test('a stream is dead after two and a half heartbeats without a byte', async (t) => {
  const world = new World();
  t.after(() => world.end());
  const { realtime } = await world.tab('/rt/', { transports: ['sse'], share: false });
  realtime.subscribe('a');
  await pass(100);
  const states = events(realtime, 'statechange');
  world.quiet = true;
  await pass(40_000);
  for (const session of world.sessions) session.text(':\n\n');
  await pass(62_000);
  assert.equal(states.length, 0);
  await pass(1000);
  assert.notEqual(states.length, 0);
});
