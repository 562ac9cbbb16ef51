// Whose connection it is.
import assert from 'node:assert/strict';
import test from 'node:test';
import { World, events, pass, record } from './world.js';

const alive = (world) => world.sockets.filter(({ closed }) => !closed);
const refs = (world, op) => world.sockets.flatMap(({ sent }) => sent).filter((it) => it.op == op);

const begun = async (t, options) => {
  const world = new World();
  t.after(() => world.end());
  const join = async (more = options) => {
    const tab = await world.tab('/rt/', more);
    tab.room = tab.realtime.subscribe('a');
    tab.got = record(tab.room);
    await pass(500);
    return tab;
  };
  return { world, join };
};

for (const [before, after] of [['ann', undefined], [undefined, 'ann'], ['ann', 'bob'], ['ann', 'ö%41']])
  test(`a tab of ${after ?? 'nobody'} does not speak as ${before ?? 'nobody'}`, async (t) => {
    const { world, join } = await begun(t);
    world.user = before && { id: before };
    const first = await join();
    assert.equal(first.realtime.user?.id, before);
    world.user = after && { id: after };
    const second = await join();
    await pass(2000);
    assert.equal(second.realtime.user?.id, after);
    assert.equal(first.realtime.user?.id, after, 'the other tab has noticed');
    await Promise.all([second.realtime.publish('a', 1), pass(500)]);
    await pass(500);
    assert.deepEqual([first.got, second.got], [[1], [1]]);
    const third = await join();
    assert.equal(third.realtime.user?.id, after);
    assert.ok(alive(world).length <= 2);
  });

test('nothing is sent in the name of another before it is known who that is', async (t) => {
  const { world, join } = await begun(t);
  world.user = { id: 'ann' };
  await join();
  world.user = undefined;
  const { fetch } = globalThis;
  globalThis.fetch = (url, init) => (init.method == 'HEAD' ? new Promise(() => {}) : fetch(url, init));
  const before = world.sockets[0].sent.length;
  const second = await join();
  second.realtime.publish('a', 'not as Ann');
  await pass(1000);
  assert.equal(world.sockets[0].sent.length, before);
  assert.equal(second.realtime.state, 'connecting');
});

test('who signs out elsewhere is noticed when the page is looked at', async (t) => {
  const { world, join } = await begun(t);
  world.user = { id: 'ann' };
  const { realtime, fire } = await join();
  world.user = undefined;
  fire('visibilitychange');
  await pass(1000);
  assert.equal(realtime.user, undefined);
  assert.equal(alive(world).length, 1);
});

test('presence is asked for whoever needs it, whoever leads', async (t) => {
  const { world, join } = await begun(t);
  const ticker = await join({ presence: '0' });
  assert.equal(new URL(world.sockets[0].url).searchParams.get('presence'), '0');
  const presence = events(ticker.room, 'presence');
  const chat = await join({});
  await pass(500);
  assert.equal(alive(world).length, 1);
  assert.equal(new URL(alive(world)[0].url).searchParams.get('presence'), '1');
  assert.equal(chat.realtime.presence('a').here.size, 1);
  assert.equal(presence.length, 0, 'the ticker is not told');
  world.publish('a', 1);
  await pass(100);
  assert.deepEqual([ticker.got, chat.got], [[1], [1]]);
});

test('other transports are another connection', async (t) => {
  const { world, join } = await begun(t);
  await join({ transports: ['sse'] });
  const { realtime } = await join({});
  assert.equal(realtime.transport, 'websocket');
  assert.equal(world.sessions.size, 2);
});

test('a hub of another origin takes nobody for anybody, by any transport', async (t) => {
  for (const transport of ['websocket', 'sse', 'poll']) {
    const world = new World();
    const { realtime } = await world.tab('https://other.example/rt/', { transports: [transport], share: false });
    realtime.subscribe('a');
    await pass(2000);
    const urls = [...world.sockets.map(({ url }) => new URL(url)), ...world.requests.map(({ url }) => url)];
    assert.ok(urls.length && urls.every(({ searchParams }) => searchParams.has('anonymous')), transport);
    world.end();
  }
});

test('a leader that is frozen: another tab takes over, nothing is lost, and it follows when it is back', async (t) => {
  const { world, join } = await begun(t);
  const all = [await join(), await join(), await join()];
  const got = () => all.map(({ got }) => got);
  const [socket] = world.sockets;
  const [channel] = world.channels;
  world.publish('a', 1);
  await pass(100);
  world.freeze(channel, socket);
  const sent = all[1].realtime.publish('a', 2);
  world.publish('a', 3);
  await pass(5000);
  await sent;
  await pass(500);
  assert.deepEqual(got().slice(1).map((list) => [...list].sort()), [[1, 2, 3], [1, 2, 3]]);
  world.publish('a', 4);
  await pass(100);
  world.thaw(channel, socket);
  await pass(2000);
  world.publish('a', 5);
  const last = all[0].realtime.publish('a', 6);
  await pass(1000);
  await last;
  for (const list of got()) assert.deepEqual([...list].sort(), [1, 2, 3, 4, 5, 6]);
  assert.equal(alive(world).length, 1, 'the former leader has let go');
});

test('a frozen leader is noticed within half a minute though nobody says anything', async (t) => {
  const { world, join } = await begun(t);
  const all = [await join(), await join()];
  world.freeze([...world.channels][0], world.sockets[0]);
  await pass(5000);
  world.publish('a', 1);
  await pass(20_000);
  assert.deepEqual(all[1].got, [1]);
});

test('a tab that vanishes without a word leaves its rooms', async (t) => {
  const { world, join } = await begun(t);
  await join();
  const other = await join();
  other.realtime.subscribe('b');
  await pass(500);
  // Its process is gone, and with it its channel and its locks.
  const channel = [...world.channels].at(-1);
  const ids = world.locks.filter(({ name }) => name != channel.name && world.holder(name)).map(({ name }) => name);
  world.channels.delete(channel);
  for (const entry of [...world.locks]) if (entry.name == ids.find((name) => world.locks.filter((it) => it.name == name).length == 2) && world.holder(entry.name) == entry) world.release(entry);
  await pass(7000);
  assert.deepEqual(refs(world, 'leave').map(({ room }) => room), ['b']);
});

test('a closed client gives its place in the storage to nobody who is there', async (t) => {
  const world = new World();
  t.after(() => world.end());
  const { realtime, module, storage } = await world.tab('/rt/', { share: false });
  world.network = false;
  const make = () => {
    const made = new module.Realtime('/rt/', { share: false });
    globalThis.sessionStorage = storage;
    made.pending('');
    return made;
  };
  globalThis.sessionStorage = storage;
  realtime.publish('a', 'of A');
  const b = make();
  b.publish('a', 'of B');
  await pass(100);
  realtime.close();
  const c = make();
  assert.deepEqual(c.pending('a'), []);
  c.publish('a', 'of C');
  await pass(100);
  const kept = Object.values(storage).map((text) => JSON.parse(text)[2].map(({ data }) => data));
  assert.deepEqual(kept.sort(), [['of B'], ['of C']]);
});

test('a tab that was duplicated is not the same client, and does not send what waits again', async (t) => {
  const world = new World();
  t.after(() => world.end());
  const storage = {};
  const one = await world.tab('/rt/', { share: false }, storage);
  one.realtime.subscribe('a');
  await pass(100);
  world.network = false;
  world.dropAll();
  one.realtime.publish('a', 'waits');
  await pass(100);
  const two = await world.tab('/rt/', { share: false }, { ...storage });
  const errors = events(two.realtime, 'error');
  two.realtime.subscribe('a');
  await pass(1500);
  world.network = true;
  one.fire('online');
  two.fire('online');
  await pass(31_000);
  assert.notEqual(one.realtime.conn, two.realtime.conn);
  assert.deepEqual(two.realtime.pending('a'), []);
  assert.equal(world.logs.a.length, 1);
  assert.equal(errors.length, 0);
});

test('who is where is known of rooms that are read here, and of no others', async (t) => {
  const { world, join } = await begun(t);
  const first = await join();
  const second = await join();
  second.realtime.subscribe('b');
  await pass(500);
  assert.equal(second.realtime.presence('b').members, 1);
  assert.equal(first.realtime.presence('b').members, 0);
  world.user = undefined;
});

test('signals to abort keep no listener of what is over', async (t) => {
  const { world, join } = await begun(t, { share: false });
  const { realtime } = await join();
  const { signal } = new AbortController();
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...a) => (listeners++, add(...a));
  signal.removeEventListener = (...a) => (listeners--, remove(...a));
  const room = realtime.subscribe('b', { signal });
  const sent = realtime.publish('b', 1, { signal });
  assert.equal(listeners, 2);
  await pass(500);
  await sent;
  room.close();
  assert.equal(listeners, 0);
  await assert.rejects(realtime.publish('b', 1n, { signal }), { status: 400 });
  realtime.close();
  await assert.rejects(realtime.publish('b', 1, { signal }), { status: 499 });
  assert.equal(listeners, 0);
  assert.ok(world);
});
