// When to come back, and how.
import assert from 'node:assert/strict';
import test from 'node:test';
import { World, events, pass, record, settle } from './world.js';

const opened = async (t, options, prepare = (world) => {}, storage = undefined) => {
  const world = new World();
  t.after(() => world.end());
  prepare(world);
  const tab = await world.tab('/rt/', { share: false, ...options }, storage);
  const states = events(tab.realtime, 'statechange');
  const errors = events(tab.realtime, 'error');
  const got = record(tab.realtime.subscribe('a'));
  await pass(100);
  return { world, ...tab, states, errors, got };
};

const delays = (states) => states.filter(({ state }) => state == 'waiting').length;

test('states follow one another', async (t) => {
  const { realtime, states } = await opened(t);
  realtime.close();
  assert.deepEqual(
    states.map(({ state, transport, retryAt }) => [state, transport, retryAt]),
    [
      ['connecting', '', 0],
      ['open', 'websocket', 0],
      ['closed', '', 0],
    ],
  );
});

test('nothing is opened before it is used', async (t) => {
  const world = new World();
  t.after(() => world.end());
  const { realtime } = await world.tab('/rt/', { share: false });
  await pass(1000);
  assert.equal(realtime.state, 'idle');
  assert.equal(world.sockets.length, 0);
  realtime.publish('a', 1);
  await pass(100);
  assert.equal(realtime.state, 'open');
  assert.equal(world.logs.a.length, 1);
});

test('backoff: full jitter below a bound that doubles from 0.5 s to 30 s', async (t) => {
  t.mock.method(Math, 'random', () => 0.999);
  const { world, realtime } = await opened(t);
  world.network = false;
  world.dropAll();
  for (const bound of [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
    await settle();
    assert.equal(realtime.state, 'waiting');
    assert.equal(Math.round(realtime.retryAt - Date.now()), Math.round(0.999 * bound));
    await pass(realtime.retryAt - Date.now() + 1);
  }
  Math.random.mock.mockImplementation(() => 0);
  await pass(realtime.retryAt - Date.now() + 1);
  assert.ok(realtime.retryAt <= Date.now(), 'the jitter goes down to 0');
});

test('backoff begins anew only after a connection that lasted', async (t) => {
  t.mock.method(Math, 'random', () => 0.999);
  const { world, realtime } = await opened(t, { transports: ['websocket'] });
  const waits = [];
  for (const lasted of [1000, 1000, 11_000, 1000]) {
    await pass(lasted);
    world.dropAll();
    await settle();
    waits.push(Math.round((realtime.retryAt - Date.now()) / 0.999));
    await pass(realtime.retryAt - Date.now() + 1);
    assert.equal(realtime.state, 'open');
  }
  assert.deepEqual(waits, [500, 1000, 500, 1000]);
});

test('the slot of a bye wins, also over online and visible', async (t) => {
  t.mock.method(Math, 'random', () => 0.5);
  const { world, realtime, fire } = await opened(t);
  for (const session of world.sessions) session.write({ op: 'bye', status: 503, retry_ms: [1000, 9000] });
  world.dropAll(1012);
  await settle();
  assert.equal(realtime.retryAt - Date.now(), 5000);
  fire('online');
  fire('visibilitychange');
  assert.equal(realtime.state, 'waiting');
  await pass(5001);
  assert.equal(realtime.state, 'open');
  assert.equal(realtime.transport, 'websocket', 'a planned end is no failure');
});

test('1012 without a bye: between half a second and three', async (t) => {
  t.mock.method(Math, 'random', () => 0);
  const { world, realtime } = await opened(t);
  world.dropAll(1012);
  await settle();
  assert.equal(realtime.retryAt - Date.now(), 500);
});

for (const type of ['online', 'visibilitychange'])
  test(`at once on ${type}`, async (t) => {
    t.mock.method(Math, 'random', () => 0.999);
    const { world, realtime, fire } = await opened(t);
    world.network = false;
    world.dropAll();
    await pass(10_000);
    assert.equal(realtime.state, 'waiting');
    world.network = true;
    world.hidden = true;
    if (type == 'visibilitychange') fire(type);
    assert.equal(realtime.state, 'waiting', 'not while hidden');
    world.hidden = false;
    fire(type);
    await settle();
    assert.equal(realtime.state, 'open');
  });

for (const code of [4403])
  test(`never after ${code}`, async (t) => {
    const { world, realtime, errors } = await opened(t);
    world.dropAll(code);
    await pass(120_000);
    assert.equal(realtime.state, 'closed');
    assert.equal(errors[0].status, code % 4000);
    assert.equal(world.sockets.length, 1);
    await assert.rejects(realtime.publish('a', 1), { status: 499 });
  });

for (const code of [4400, 4408, 4429, 1009, 1011, 1002])
  test(`again after ${code}`, async (t) => {
    const { world, realtime } = await opened(t);
    world.dropAll(code);
    await pass(1000);
    assert.equal(realtime.state, 'open');
  });

for (const status of [401, 403])
  test(`a socket refused with ${status} ends it`, async (t) => {
    const { world, realtime, errors } = await opened(t, {}, (world) => {
      world.websocket = 'refused';
      world.status = status;
    });
    assert.equal(realtime.state, 'closed');
    assert.equal(errors[0].status, status);
    assert.equal(world.requests[0].method, 'HEAD');
    assert.equal(world.requests.length, 1);
  });

for (const status of [429, 503])
  test(`a socket refused with ${status} waits as Retry-After says`, async (t) => {
    const { realtime, world } = await opened(t, {}, (world) => {
      world.websocket = 'refused';
      world.status = status;
      world.headers = { 'Retry-After': '7' };
    });
    assert.equal(realtime.state, 'waiting');
    const wait = realtime.retryAt - Date.now();
    assert.ok(wait >= 6900 && wait <= 1.25 * 7000, `${wait} ms`);
    world.status = 0;
    world.websocket = 'works';
    await pass(wait + 1);
    assert.equal(realtime.transport, 'websocket');
  });

test('while a gateway says 502, or without a network, it tries now and then, and is back by the best way', async (t) => {
  const { realtime, world } = await opened(t, {}, (world) => {
    world.websocket = 'refused';
    world.status = 502;
  });
  await pass(5000);
  world.network = false;
  await pass(20_000);
  assert.ok(world.requests.length < 20);
  world.network = true;
  world.status = 0;
  world.websocket = 'works';
  await pass(31_000);
  assert.equal(realtime.state, 'open');
  await pass(12_000);
  assert.equal(realtime.transport, 'websocket');
});

test('refused: the next transport at once', async (t) => {
  const { realtime, world, got } = await opened(t, {}, (world) => {
    world.websocket = 'refused';
  });
  assert.equal(realtime.transport, 'sse');
  world.publish('a', 1);
  await pass(100);
  assert.deepEqual(got, [1]);
});

test('no WebSocket in this browser', async (t) => {
  const { realtime } = await opened(t, {}, () => {
    delete globalThis.WebSocket;
  });
  assert.equal(realtime.transport, 'sse');
});

test('silent: the next transport after four seconds, twice', async (t) => {
  const { realtime } = await opened(t, {}, (world) => {
    world.websocket = world.sse = 'silent';
  });
  await pass(3800);
  assert.equal(realtime.state, 'connecting');
  await pass(200);
  await pass(3900);
  assert.equal(realtime.state, 'connecting');
  await pass(2000);
  assert.equal(realtime.transport, 'poll');
});

test('all silent: a pause, and the first again', async (t) => {
  const { realtime, world } = await opened(t, { transports: ['websocket', 'sse'] }, (world) => {
    world.websocket = world.sse = 'silent';
  });
  await pass(10_000);
  assert.ok(world.sockets.length > 1);
  assert.equal(realtime.retryAt > 0 || realtime.state == 'connecting', true);
});

test('opened and killed twice in a row: the next transport, and nothing lost', async (t) => {
  const { realtime, world, got } = await opened(t, {}, (world) => {
    world.websocket = 'killed';
    world.sse = 'killed';
  });
  for (let n = 1; n <= 20; n++) {
    world.publish('a', n);
    await pass(700);
  }
  await pass(2000);
  assert.equal(world.sockets.length, 2);
  assert.equal(realtime.transport, 'poll');
  assert.deepEqual(got, Array.from({ length: 20 }, (_, n) => n + 1));
});

test('a cut now and then is no reason to fall back', async (t) => {
  const { realtime, world } = await opened(t);
  for (let n = 0; n < 4; n++) {
    await pass(15_000);
    world.dropAll();
    await pass(1000);
  }
  assert.equal(realtime.transport, 'websocket');
});

test('what worked is remembered for the tab', async (t) => {
  const storage = {};
  const first = await opened(t, {}, (world) => (world.websocket = 'refused'), storage);
  assert.equal(first.realtime.transport, 'sse');
  const { conn } = first.realtime;
  first.fire('pagehide', { persisted: false });
  first.world.end();
  const second = await opened(t, {}, (world) => (world.websocket = 'refused'), storage);
  assert.equal(second.realtime.transport, 'sse');
  assert.equal(second.world.sockets.length, 0);
  assert.equal(second.realtime.conn, conn);
  assert.equal(second.world.requests[0].query.get('conn'), conn);
});

test('back to the better transport after five minutes, or on online', async (t) => {
  const { realtime, world, got, fire } = await opened(t, {}, (world) => (world.websocket = 'refused'));
  await pass(295_000);
  assert.equal(world.sockets.length, 1);
  await pass(31_000);
  assert.equal(world.sockets.length, 2, 'tried');
  assert.equal(realtime.transport, 'sse', 'in vain');
  world.websocket = 'works';
  world.publish('a', 1);
  fire('online');
  world.publish('a', 2);
  await pass(100);
  assert.equal(realtime.transport, 'websocket');
  world.publish('a', 3);
  await pass(100);
  assert.deepEqual(got, [1, 2, 3]);
});

test('heartbeat: a question after 25 s, dead ten seconds later', async (t) => {
  const { realtime, world } = await opened(t);
  const [socket] = world.sockets;
  await pass(20_000);
  world.publish('a', 1);
  await pass(24_000);
  assert.equal(socket.pings, undefined, 'what comes puts it off');
  await pass(2000);
  assert.equal(socket.pings, 1);
  await pass(60_000);
  assert.equal(world.sockets.length, 1, 'the answer counts');
  socket.deaf = true;
  await pass(34_000);
  assert.equal(realtime.state, 'open');
  await pass(12_000);
  assert.equal(world.sockets.length, 2);
  assert.equal(socket.closed, true);
  assert.equal(realtime.state, 'open');
});

test('a connection in doubt is asked when the page becomes visible', async (t) => {
  const { realtime, world, fire } = await opened(t);
  await pass(1000);
  world.sockets[0].deaf = true;
  fire('visibilitychange');
  await pass(3500);
  assert.equal(world.sockets.length, 1);
  await pass(1500);
  assert.equal(world.sockets.length, 2);
  assert.equal(realtime.state, 'open');
});

test('a page that goes to the cache and comes back', async (t) => {
  const { realtime, world, got, fire } = await opened(t);
  world.publish('a', 1);
  await pass(100);
  fire('pagehide', { persisted: true });
  assert.equal(realtime.state, 'idle');
  assert.equal(world.sockets[0].closed, true);
  world.publish('a', 2);
  await pass(60_000);
  assert.equal(world.sockets.length, 1);
  fire('pageshow', { persisted: true });
  await pass(100);
  assert.equal(realtime.state, 'open');
  assert.deepEqual(got, [1, 2]);
  assert.equal(new URL(world.sockets[1].url).searchParams.get('conn'), realtime.conn);
});

test('an abort signal closes', async (t) => {
  const abort = new AbortController();
  const { realtime, world, errors } = await opened(t, { signal: abort.signal });
  abort.abort();
  assert.deepEqual(errors, []);
  assert.equal(realtime.state, 'closed');
  await pass(60_000);
  assert.equal(world.sockets.length, 1);
  assert.equal(world.sockets[0].closed, true);
  const late = await world.tab('/rt/', { share: false, signal: abort.signal });
  assert.equal(late.realtime.state, 'closed');
});
