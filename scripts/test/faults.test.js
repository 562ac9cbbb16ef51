// Hostile networks, browsers and callers.
import assert from 'node:assert/strict';
import test from 'node:test';
import { World, events, pass, record, settle } from './world.js';

const TRANSPORTS = ['websocket', 'sse', 'poll'];
const message = (n) => `room-${n}`;

const opened = async (t, options, prepare = (world) => {}, storage) => {
  const world = new World();
  t.after(() => world.end());
  prepare(world);
  const tab = await world.tab('/rt/', { share: false, ...options }, storage);
  const states = events(tab.realtime, 'statechange');
  const errors = events(tab.realtime, 'error');
  const room = tab.realtime.subscribe('a');
  await pass(100);
  return { world, ...tab, states, errors, room, got: record(room) };
};
const refs = (world, op) => world.sockets.flatMap(({ sent }) => sent).filter((it) => it.op == op);

// ---- Commands have an owner

test('joins that are refused for now are tried again at their time: 30 rooms after a break', async (t) => {
  const { world, realtime } = await opened(t);
  const rooms = Array.from({ length: 30 }, (_, n) => realtime.subscribe(message(n)));
  const got = rooms.map(record);
  const joins = rooms.map((room) => events(room, 'join'));
  await pass(1000);
  const { command } = world;
  let left = 20;
  world.command = function (session, object) {
    if (object.op == 'join' && left-- <= 0 && left > -11)
      return session.write({ op: 'error', ref: object.ref, room: object.room, status: 429, title: 'too many', retry_ms: 700 });
    return command.call(world, session, object);
  };
  world.dropAll();
  await pass(4000);
  for (let n = 0; n < 30; n++) world.publish(message(n), n);
  await pass(500);
  assert.deepEqual(got, Array.from({ length: 30 }, (_, n) => [n]));
  assert.ok(joins.every(({ length }) => length == 2), 'each is told of the break');
});

for (const transport of TRANSPORTS)
  test(`${transport}: a room that is refused for good after a break says so, and the others go on`, async (t) => {
    const { world, realtime } = await opened(t, { transports: [transport] });
    const bad = realtime.subscribe('bad');
    const errors = events(bad, 'error');
    const good = record(realtime.subscribe('good'));
    await pass(2500);
    world.refuseRoom = 'bad';
    world.dropAll();
    await pass(30_000);
    assert.deepEqual(errors.map(({ status, room }) => [status, room]), [[403, 'bad']]);
    world.publish('good', 1);
    await pass(2000);
    assert.deepEqual(good, [1]);
    assert.equal(realtime.state, 'open');
  });

test('a join without an answer is asked again', async (t) => {
  const { world, realtime } = await opened(t);
  world.deafTo = 'join';
  const got = record(realtime.subscribe('b', { last: 1 }));
  world.publish('b', 1);
  await pass(9000);
  world.deafTo = '';
  await pass(2000);
  assert.deepEqual(got, [1]);
  assert.equal(world.sockets.length, 1);
});

test('a publication without an answer on a live connection is sent again under its key, and given up in the end', async (t) => {
  const { world, realtime, errors } = await opened(t);
  world.deafTo = 'publish';
  const first = realtime.publish('a', 1);
  const second = realtime.publish('b', 2).catch((error) => error.status);
  await pass(31_000);
  const keys = new Set(refs(world, 'publish').filter(({ room }) => room == 'a').map(({ key }) => key));
  assert.deepEqual([...keys], [first.key]);
  assert.ok(refs(world, 'publish').length >= 4);
  first.catch(() => {});
  await pass(300_000);
  assert.equal(await second, 499);
  await assert.rejects(first, { status: 499 });
  assert.equal(errors.length, 2);
});

test('a state that is refused is told', async (t) => {
  const { world, room, errors } = await opened(t);
  world.refuse.state = { status: 403, title: 'no presence' };
  room.setState({ away: true });
  await pass(100);
  assert.deepEqual(errors.map(({ status, room }) => [status, room]), [[403, 'a']]);
});

// ---- Limits

test('sse: room names that do not fit into one URL are read by a second stream, as the same client', async (t) => {
  const { world, realtime } = await opened(t, { transports: ['sse'] });
  const names = Array.from({ length: 90 }, (_, n) => 'é'.repeat(60) + n);
  const got = names.map((name) => record(realtime.subscribe(name)));
  await pass(1000);
  const streams = world.requests.slice(-3).filter(({ signal }) => !signal.aborted);
  assert.ok(streams.length > 1);
  assert.ok(world.requests.every(({ url }) => url.href.length <= 8000));
  names.forEach((name, n) => world.publish(name, n));
  await pass(1000);
  assert.deepEqual(got, names.map((_, n) => [n]));
  const conns = new Set([...world.sessions].map(({ conn }) => conn));
  assert.equal(conns.size, 1);
});

test('sse: more rooms than a connection may have: the last one is refused, as by WebSocket', async (t) => {
  const { realtime } = await opened(t, { transports: ['sse'] });
  const rooms = Array.from({ length: 100 }, (_, n) => realtime.subscribe('r' + n));
  const errors = rooms.map((room) => events(room, 'error'));
  await pass(1000);
  assert.deepEqual(errors.map(({ length }) => length).join(''), '0'.repeat(99) + '1');
});

for (const transport of TRANSPORTS)
  test(`${transport}: a message that is too large costs itself alone`, async (t) => {
    const { world, realtime, errors } = await opened(t, { transports: [transport] }, (world) => (world.limit = 1000));
    await pass(1500);
    const large = realtime.publish('a', 'x'.repeat(300_000));
    const small = realtime.publish('a', 'after it');
    await pass(1500);
    await assert.rejects(large, { status: 413, key: large.key });
    await small;
    assert.deepEqual(world.logs.a.map(({ data }) => data), ['after it']);
    assert.equal(realtime.state, 'open');
    assert.equal(errors.length, 1);
  });

test('1009 costs the largest message on its way, and nothing else', async (t) => {
  const { world, realtime } = await opened(t);
  world.deafTo = 'publish';
  const all = ['x'.repeat(10), 'x'.repeat(3000), 'x'.repeat(20)].map((data, n) => realtime.publish('room' + n, data));
  const outcomes = all.map((promise) => promise.then(() => 'sent', ({ status }) => status));
  await pass(100);
  world.deafTo = '';
  world.dropAll(1009);
  await pass(2000);
  assert.deepEqual(await Promise.all(outcomes), ['sent', 413, 'sent']);
});

// ---- Data

test('data is JSON from publish on: what cannot be is refused there', async (t) => {
  const { world, realtime } = await opened(t);
  const circle = {};
  circle.self = circle;
  for (const bad of [1n, circle, undefined, () => {}, Symbol('x'), { toJSON() { throw new Error('no'); } }])
    await assert.rejects(realtime.publish('a', bad), { status: 400 });
  const data = { when: new Date(0), proxy: new Proxy({ x: 1 }, {}), list: [undefined], toJSON: undefined };
  realtime.publish('a', data);
  data.when = 'later';
  await pass(100);
  assert.deepEqual(world.logs.a.map(({ data }) => data), [{ when: '1970-01-01T00:00:00.000Z', proxy: { x: 1 }, list: [null] }]);
  assert.throws(() => realtime.subscribe('b', { state: circle }));
  assert.throws(() => realtime.subscribe('b', { state: 'é'.repeat(600) }), { status: 413 });
  assert.throws(() => realtime.subscribe('b').setState('x'.repeat(1023)), { status: 413 });
  realtime.signal('a', 'nothing');
});

test('setState(null) does not come back as what was before', async (t) => {
  const { world, realtime } = await opened(t);
  const room = realtime.subscribe('b', { state: { name: 'Ann' } });
  await pass(100);
  room.setState(null);
  await pass(100);
  world.dropAll();
  await pass(2000);
  assert.deepEqual(refs(world, 'join').filter(({ room }) => room == 'b').map(({ state }) => state), [{ name: 'Ann' }, null]);
});

for (const transport of TRANSPORTS)
  test(`${transport}: two readers that want a number and a time both get theirs`, async (t) => {
    const { world, realtime } = await opened(t, { transports: [transport] });
    await pass(1500);
    for (let n = 1; n <= 9; n++) world.publish('b', n);
    world.lastOfTime = 7;
    const some = record(realtime.subscribe('b', { last: '10m' }));
    const few = record(realtime.subscribe('b', { last: 2 }));
    await pass(4000);
    assert.deepEqual(some, [3, 4, 5, 6, 7, 8, 9]);
    assert.deepEqual(few.slice(-2), [8, 9]);
  });

// ---- Close

test('made and closed in one task: nothing is opened', async (t) => {
  for (const share of [true, false]) {
    const world = new World();
    const tab = await world.tab('/rt/', { share });
    tab.realtime.subscribe('a');
    tab.realtime.close();
    await pass(5000);
    assert.equal(world.sockets.length, 0);
    assert.equal(world.locks.length, 0);
    world.end();
  }
});

test('a lock that is granted though its request was aborted', async (t) => {
  const world = new World();
  t.after(() => world.end());
  const tab = await world.tab('/rt/');
  const { request } = navigator.locks;
  const late = [];
  navigator.locks.request = (name, options, run) => {
    late.push(run);
    return request(name, options, run);
  };
  tab.realtime.subscribe('a');
  await pass(100);
  tab.realtime.close();
  await pass(100);
  const before = world.sockets.length;
  for (const run of late) run({});
  await pass(1000);
  assert.equal(world.sockets.length, before);
  assert.equal(tab.realtime.state, 'closed');
});

test('what comes after close: a join that was to be repeated, a page that comes back', async (t) => {
  const { world, realtime, fire } = await opened(t);
  world.refuse.join = { status: 429, title: 'too many', retry_ms: 500 };
  const room = realtime.subscribe('b');
  await pass(100);
  room.close();
  delete world.refuse.join;
  await pass(2000);
  assert.equal(refs(world, 'join').filter(({ room }) => room == 'b').length, 1);
  realtime.close();
  fire('pageshow', { persisted: true });
  await pass(1000);
  assert.equal(world.sockets.length, 1);
  const unused = await world.tab('/rt/');
  unused.fire('pagehide', { persisted: true });
  unused.fire('pageshow', { persisted: true });
  await pass(1000);
  assert.equal(unused.realtime.state, 'idle');
});

// ---- Promises

test('every promise is settled: discarded, the same key twice and in two rooms, closed', async (t) => {
  const { world, realtime } = await opened(t);
  const all = [realtime.publish('a', 1, { key: 'k' }), realtime.publish('a', 1, { key: 'k' }), realtime.publish('b', 1, { key: 'k' })];
  await pass(500);
  await Promise.all(all);
  world.network = false;
  world.dropAll();
  await pass(100);
  const dropped = realtime.publish('a', 2, { key: 'dropped' });
  realtime.discard('dropped');
  await assert.rejects(dropped, { status: 499 });
  const rejections = [];
  process.on('unhandledRejection', (reason) => rejections.push(reason));
  realtime.publish('a', 3);
  realtime.close();
  await settle();
  process.removeAllListeners('unhandledRejection');
  assert.deepEqual(rejections, []);
});

// ---- Hostile ways

const HOW = ['refused', 'reset', 403, 404, 405, 502, 'headers', 'held', 'ended', 'gathered'];
for (const how of HOW)
  for (const only of ['websocket', 'sse', 'both'])
    test(`a middlebox: ${only} ${how}`, async (t) => {
      const { world, realtime, states } = await opened(t, {}, (world) => {
        if (only != 'sse') world.websocket = how == 'held' || how == 'gathered' ? 'silent' : how == 'ended' ? 'killed' : 'refused';
        if (only != 'websocket') world.hostile = how;
        if (only == 'sse') world.websocket = 'refused';
      });
      await pass(60_000);
      assert.equal(realtime.state, 'open', JSON.stringify(states.slice(-3)));
      assert.equal(realtime.transport, only == 'websocket' ? 'sse' : 'poll');
      assert.ok(world.requests.length < 40, `${world.requests.length} requests`);
      const sent = realtime.publish('a', 1);
      await pass(1000);
      await sent;
    });

// A client that used long polling the last time begins with it. (A page that is gathered comes all the same.)
for (const how of HOW.slice(0, -1))
  for (const way of ['websocket', 'sse'])
    test(`a middlebox: polling ${how}, ${way} works`, async (t) => {
      const storage = {};
      const first = await opened(t, {}, (world) => ((world.websocket = 'refused'), (world.hostile = 'refused')), storage);
      await pass(10_000);
      assert.equal(first.realtime.transport, 'poll');
      first.fire('pagehide', { persisted: false });
      first.world.end();
      const { world, realtime, states } = await opened(
        t,
        {},
        (world) => {
          world.hostilePages = how;
          if (way == 'sse') world.websocket = 'refused';
        },
        storage,
      );
      assert.ok(world.requests[0].query.has('wait'));
      await pass(60_000);
      assert.equal(realtime.state, 'open', JSON.stringify(states.slice(-3)));
      assert.equal(realtime.transport, way);
      assert.ok(world.requests.length < 40, `${world.requests.length} requests`);
    });

test('a socket that is held while it is looked at: the next transport all the same', async (t) => {
  const { realtime, fire } = await opened(t, {}, (world) => (world.websocket = 'silent'));
  fire('visibilitychange');
  await pass(10_000);
  assert.equal(realtime.transport, 'sse');
});

test('an abort signal takes back its own message, and no other of its key', async (t) => {
  const { world, realtime } = await opened(t);
  world.network = false;
  world.dropAll();
  await pass(100);
  const abort = new AbortController();
  const own = realtime.publish('a', 1, { key: 'k', signal: abort.signal });
  const other = realtime.publish('b', 2, { key: 'k' });
  abort.abort();
  await assert.rejects(own, { name: 'AbortError' });
  world.network = true;
  await pass(31_000);
  await other;
});

test('a server that answers after 4.5 s', async (t) => {
  const { world, realtime } = await opened(t, {}, (world) => (world.slow = 4500));
  await pass(50_000);
  assert.equal(realtime.state, 'open');
  assert.ok(world.requests.length + world.sockets.length < 12);
});

test('who only publishes backs off, too', async (t) => {
  const world = new World();
  t.after(() => world.end());
  world.status = 502;
  const { realtime } = await world.tab('/rt/', { share: false, transports: ['sse'] });
  realtime.publish('a', 1);
  await pass(60_000);
  assert.ok(world.requests.length > 2 && world.requests.length < 30, `${world.requests.length} requests`);
  world.status = 0;
  await pass(31_000);
  assert.equal(world.logs.a.length, 1);
});

test('Retry-After of 25 days waits an hour', async (t) => {
  const { realtime, world } = await opened(t, {}, (world) => {
    world.websocket = 'refused';
    world.status = 503;
    world.headers = { 'Retry-After': String(25 * 86_400) };
  });
  assert.equal(realtime.state, 'waiting');
  assert.ok(realtime.retryAt - Date.now() <= 36e5);
  const asked = world.requests.length;
  await pass(10_000);
  assert.equal(world.requests.length, asked);
});

test('a better transport is tried beside the good one', async (t) => {
  const { world, realtime, states, got } = await opened(t, {}, (world) => (world.websocket = 'refused'));
  assert.equal(realtime.transport, 'sse');
  const before = states.length;
  await pass(310_000);
  assert.equal(world.sockets.length, 2, 'tried');
  assert.equal(states.length, before, 'nobody noticed');
  world.websocket = 'works';
  await pass(300_000);
  assert.equal(realtime.transport, 'websocket');
  assert.ok(states.every(({ state }) => state != 'waiting'));
  world.publish('a', 1);
  await pass(100);
  assert.deepEqual(got, [1]);
  assert.equal(world.sessions.size, 1);
});

test('a silent link is noticed within seconds when something is sent, or the network goes', async (t) => {
  for (const what of ['publish', 'offline']) {
    const world = new World();
    const { realtime, fire } = await world.tab('/rt/', { share: false });
    realtime.subscribe('a');
    await pass(100);
    world.sockets[0].deaf = true;
    if (what == 'publish') realtime.publish('a', 1);
    else fire(what);
    await pass(9000);
    assert.equal(world.sockets[0].closed, true, what);
    await pass(1000);
    assert.equal(realtime.state, 'open');
    if (what == 'publish') assert.equal(world.logs.a.length, 1);
    world.end();
  }
});

// ---- Browsers that refuse

for (const [name, lack] of Object.entries({
  'locks missing': () => (navigator.locks = undefined),
  'locks throw': () => (navigator.locks.request = () => { throw new Error('SecurityError'); }),
  'locks reject': () => (navigator.locks.request = async () => { throw new Error('SecurityError'); }),
  'locks never answer': () => (navigator.locks.request = () => new Promise(() => {})),
  'BroadcastChannel missing': () => delete globalThis.BroadcastChannel,
  'BroadcastChannel throws': () => (globalThis.BroadcastChannel = class { constructor() { throw new Error('no'); } }),
}))
  test(`${name}: the client goes on alone`, async (t) => {
    const world = new World();
    t.after(() => world.end());
    lack();
    const { realtime } = await world.tab('/rt/');
    const got = record(realtime.subscribe('a'));
    await pass(1000);
    if (name == 'locks never answer') {
      await pass(10_000);
    }
    assert.equal(realtime.state, 'open');
    world.publish('a', 1);
    await pass(100);
    assert.deepEqual(got, [1]);
  });

for (const rubbish of ['', '[]', '{}', 'null', '[1,2,3]', '["c",9,[null],7]', '["c","x",[{"key":1}]]', '{"0":1', '[{},{},[{"key":"k","room":"a"}]]'])
  test(`rubbish in the storage: ${rubbish}`, async (t) => {
    const world = new World();
    t.after(() => world.end());
    const { realtime } = await world.tab('/rt/', { share: false }, { 'realtime.v1https://example.com/rt/1': rubbish });
    const got = record(realtime.subscribe('a'));
    realtime.publish('a', 1);
    await pass(2000);
    assert.equal(realtime.state, 'open');
    assert.deepEqual(got.at(-1), 1);
  });
