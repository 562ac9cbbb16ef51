// The interface of a WebSocket.
import assert from 'node:assert/strict';
import test from 'node:test';
import { World, pass } from './world.js';

const { RealtimeSocket } = await import('../realtime-socket.js');

const opened = async (t, url = 'wss://example.com/rt/lobby', prepare = (world) => {}) => {
  const world = new World();
  t.after(() => world.end());
  globalThis.addEventListener = () => {};
  prepare(world);
  const socket = new RealtimeSocket(url);
  const calls = [];
  for (const type of ['open', 'message', 'error', 'close']) socket[`on${type}`] = (event) => calls.push([type, event.data ?? event.code]);
  await pass(1500);
  t.after(() => socket.close());
  return { world, socket, calls };
};

test('an old page: open, messages as published, its own too, close', async (t) => {
  const { world, socket, calls } = await opened(t);
  assert.equal(socket.readyState, socket.OPEN);
  assert.equal(RealtimeSocket.OPEN, WebSocket.OPEN ?? 1);
  assert.equal(socket.url, 'wss://example.com/rt/lobby');
  assert.deepEqual([socket.protocol, socket.extensions, socket.bufferedAmount], ['', '', 0]);
  assert.ok(world.sockets[0].url.startsWith('wss://example.com/rt/?'));
  const listened = [];
  socket.addEventListener('message', ({ data }) => listened.push(data));
  socket.send('hi');
  socket.send('{"n":1}');
  await pass(100);
  assert.deepEqual(world.logs.lobby.map(({ data }) => data), ['hi', '{"n":1}']);
  world.publish('lobby', { a: [1] });
  assert.deepEqual(listened, ['hi', '{"n":1}', '{"a":[1]}']);
  assert.deepEqual(calls, [['open', undefined], ...listened.map((data) => ['message', data])]);
  socket.close(1000, 'done');
  assert.equal(socket.readyState, socket.CLOSING);
  await pass(100);
  assert.equal(socket.readyState, socket.CLOSED);
  assert.deepEqual(calls.at(-1), ['close', 1000]);
  assert.equal(world.sockets[0].closed, true);
  socket.send('too late');
  await pass(100);
  assert.equal(world.logs.lobby.length, 3);
});

test('a relative URL, ?last=, a room with a slash', async (t) => {
  const { world, calls } = await opened(t, '/rt/a%20b/c?last=1', (world) => {
    world.publish('a b/c', 1);
    world.publish('a b/c', 2);
  });
  assert.deepEqual(calls, [['open', undefined], ['message', '2']]);
  assert.equal(new URL(world.sockets[0].url).searchParams.has('last'), false);
});

test('a cut is not seen, and nothing is lost', async (t) => {
  const { world, socket, calls } = await opened(t);
  world.dropAll();
  world.publish('lobby', '1');
  socket.send('2');
  assert.equal(socket.readyState, 1);
  await pass(1000);
  assert.deepEqual(calls.slice(1), [['message', '1'], ['message', '2']]);
});

for (const transport of ['sse', 'poll'])
  test(`over ${transport}`, async (t) => {
    const { world, socket, calls } = await opened(t, undefined, (world) => {
      world.websocket = 'refused';
      if (transport == 'poll') world.sse = 'silent';
    });
    await pass(5000);
    socket.send('hi');
    await pass(1500);
    assert.deepEqual(calls, [['open', undefined], ['message', 'hi']]);
  });

test('bytes, as they were', async (t) => {
  const { world, socket, calls } = await opened(t);
  const bytes = Uint8Array.from({ length: 300 }, (_, n) => n);
  socket.send(new Blob([bytes], { type: 'image/png' }));
  socket.send('after it');
  socket.send(bytes.buffer);
  socket.send(bytes.subarray(1, 3));
  await pass(100);
  const [first, , third, fourth] = world.logs.lobby.map(({ data }) => data);
  assert.deepEqual(first, { base64: Buffer.from(bytes).toString('base64'), type: 'image/png' });
  assert.equal(third.type, 'application/octet-stream');
  assert.equal(fourth.base64, Buffer.from([1, 2]).toString('base64'));
  const blob = calls[1][1];
  assert.equal(blob.type, 'image/png');
  assert.deepEqual(new Uint8Array(await blob.arrayBuffer()), bytes);
  assert.deepEqual(calls[2], ['message', 'after it']);
  socket.binaryType = 'arraybuffer';
  world.publish('lobby', first);
  assert.deepEqual(new Uint8Array(calls.at(-1)[1]), bytes);
});

test('close waits for what was sent', async (t) => {
  const { world, socket, calls } = await opened(t);
  world.network = false;
  world.dropAll();
  let n = 0;
  t.mock.method(Math, 'random', () => (n += 1e-6)); // it does not wait
  for (let n = 0; n < 10; n++) socket.send('x' + n);
  socket.close();
  await pass(2000);
  assert.ok(socket.bufferedAmount > 0);
  assert.equal(socket.readyState, 2);
  world.network = true;
  await pass(5000);
  assert.equal(world.logs.lobby.length, 10);
  assert.deepEqual(calls.at(-1), ['close', 1005]);
});

test('close without a network ends in five seconds', async (t) => {
  const { world, socket, calls } = await opened(t);
  world.network = false;
  world.dropAll();
  socket.send('lost');
  const errors = [];
  socket.addEventListener('error', ({ target }) => errors.push(target == socket));
  socket.close();
  await pass(5500);
  assert.equal(socket.readyState, 3);
  assert.deepEqual(calls.at(-1), ['close', 1006]);
  assert.deepEqual(errors, [true], 'what was not sent');
});

test('the order is kept under a rate limit', async (t) => {
  const { world, socket } = await opened(t);
  world.refuse.publish = { status: 429, title: 'too many', retry_ms: 500, times: 3 };
  for (let n = 0; n < 9; n++) socket.send(String(n));
  await pass(5000);
  assert.deepEqual(world.logs.lobby.map(({ data }) => data), [...'012345678']);
});

for (const transport of ['websocket', 'sse', 'poll'])
  test(`a refused message: error, and the socket stays open, over ${transport}`, async (t) => {
    const { world, socket, calls } = await opened(t, undefined, (world) => {
      if (transport != 'websocket') world.websocket = 'refused';
      if (transport == 'poll') world.sse = 'silent';
    });
    await pass(5000);
    world.refuse.publish = { status: 413, title: 'message too large', times: 1 };
    socket.send('too large');
    await pass(1500);
    socket.send('small');
    await pass(1500);
    assert.equal(socket.readyState, 1);
    assert.deepEqual(calls, [['open', undefined], ['error', undefined], ['message', 'small']]);
  });

test('refused: error, then close', async (t) => {
  const { socket, calls } = await opened(t, undefined, (world) => {
    world.refuse.join = { status: 403, title: 'no' };
  });
  assert.deepEqual(calls, [['error', undefined], ['close', 4403]]);
  assert.equal(socket.readyState, 3);
});

test('refused at the door: error, then close', async (t) => {
  const { calls } = await opened(t, undefined, (world) => {
    world.websocket = 'refused';
    world.status = 401;
  });
  assert.deepEqual(calls, [['error', undefined], ['close', 4401]]);
});
