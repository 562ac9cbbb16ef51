// One connection for all tabs.
import assert from 'node:assert/strict';
import test from 'node:test';
import { World, events, pass, record, settle } from './world.js';

const tabs = async (t, count, options) => {
  const world = new World();
  t.after(() => world.end());
  const all = [];
  for (let n = 0; n < count; n++) {
    const tab = await world.tab('/rt/', options);
    tab.subscription = tab.realtime.subscribe('a');
    tab.got = record(tab.subscription);
    all.push(tab);
    await pass(100);
  }
  await pass(1500);
  return { world, all, got: () => all.map(({ got }) => got) };
};
const sockets = (world) => world.sockets.filter(({ closed }) => !closed);

for (const transport of ['websocket', 'sse', 'poll'])
  test(`${transport}: three tabs have one connection, and each what is its`, async (t) => {
    const { world, all, got } = await tabs(t, 3, { transports: [transport] });
    assert.ok(world.sessions.size <= 1);
    assert.deepEqual(all.map(({ realtime }) => [realtime.state, realtime.transport]), Array(3).fill(['open', transport]));
    const b = record(all[2].realtime.subscribe('b'));
    await pass(1500);
    world.publish('a', 1);
    world.publish('b', 2);
    await pass(1500);
    const promise = all[1].realtime.publish('a', 3);
    await pass(1500);
    assert.equal((await promise).id, world.logs.a[1].id);
    assert.deepEqual(got(), [[1, 3], [1, 3], [1, 3]]);
    assert.deepEqual(b, [2]);
    assert.equal(all[2].subscription.members, 1);
    if (transport == 'websocket') assert.equal(world.sockets.length, 1);
  });

test('share: false, no locks, no channel: a connection of its own', async (t) => {
  for (const lack of [() => {}, () => (navigator.locks = undefined), () => (globalThis.BroadcastChannel = undefined)]) {
    const world = new World();
    lack();
    const options = lack.toString().includes('undefined') ? {} : { share: false };
    for (let n = 0; n < 2; n++) (await world.tab('/rt/', options)).realtime.subscribe('a');
    await pass(100);
    assert.equal(sockets(world).length, 2);
    world.end();
  }
});

test('another URL is another connection', async (t) => {
  const { world } = await tabs(t, 1);
  (await world.tab('/other/')).realtime.subscribe('a');
  await pass(100);
  assert.equal(sockets(world).length, 2);
});

test('the leader closes: the next one goes on, and nothing is lost', async (t) => {
  const { world, all, got } = await tabs(t, 3);
  world.publish('a', 1);
  await pass(100);
  const conn = all[0].realtime.conn;
  all[0].realtime.close();
  world.publish('a', 2);
  await pass(100);
  world.publish('a', 3);
  await pass(100);
  assert.deepEqual(got(), [[1], [1, 2, 3], [1, 2, 3]]);
  assert.equal(sockets(world).length, 1);
  assert.equal(new URL(world.sockets[1].url).searchParams.get('conn'), conn, 'the same member');
  assert.equal(all[2].realtime.state, 'open');
  all[1].realtime.close();
  await pass(100);
  world.publish('a', 4);
  await pass(100);
  assert.deepEqual(got(), [[1], [1, 2, 3], [1, 2, 3, 4]]);
});

test('the leader dies with a message of a follower that has no answer: published once', async (t) => {
  const { world, all, got } = await tabs(t, 2);
  const [socket] = world.sockets;
  const promise = all[1].realtime.publish('a', 1);
  socket.write = () => {}; // published, but no answer arrives
  await settle();
  assert.equal(world.logs.a.length, 1);
  // It dies as a process does: without a word. Its lock is released, and its socket gone.
  socket.closed = true;
  world.sessions.delete(socket);
  const [channel] = world.channels;
  world.channels.delete(channel);
  world.release(world.locks[0]); // its own
  world.release(world.holder('realtime.v1https://example.com/rt/'));
  await pass(1000);
  assert.equal((await promise).id, world.logs.a[0].id);
  assert.equal(world.logs.a.length, 1);
  assert.deepEqual(got()[1], [1]);
});

test('a follower comes later, with a cursor or the last ones: nobody gets anything twice', async (t) => {
  const { world, all, got } = await tabs(t, 2);
  const ids = [1, 2, 3, 4].map((n) => world.publish('a', n).id);
  await pass(100);
  const third = await world.tab('/rt/');
  const last = record(third.realtime.subscribe('a', { last: 3 }));
  const after = record(third.realtime.subscribe('a', { after: ids[0] }));
  const now = record(third.realtime.subscribe('a'));
  await pass(100);
  world.publish('a', 5);
  await pass(100);
  assert.deepEqual(got(), [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]);
  assert.deepEqual([last, after], [[2, 3, 4, 5], [2, 3, 4, 5]]);
  assert.equal(now.at(-1), 5);
  assert.equal(world.sockets.length, 1);
  assert.equal(all[0].subscription.cursor, all[1].subscription.cursor);
});

test('a follower that comes while others are behind takes nothing from them', async (t) => {
  const { world, got } = await tabs(t, 2);
  world.lag = true;
  [1, 2, 3, 4, 5].map((n) => world.publish('a', n));
  const third = await world.tab('/rt/');
  const last = record(third.realtime.subscribe('a', { last: 2 }));
  await pass(100);
  world.lag = false;
  world.pump();
  await pass(100);
  assert.deepEqual(got(), [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]);
  assert.deepEqual(last.slice(-2), [4, 5]);
});

test('a cut: the state is the same in all tabs, and so is what they get', async (t) => {
  const { world, all, got } = await tabs(t, 3);
  const states = all.map(({ realtime }) => events(realtime, 'statechange'));
  world.network = false;
  world.dropAll();
  await pass(100);
  world.publish('a', 1);
  await pass(5000);
  world.network = true;
  await pass(31_000);
  assert.deepEqual(got(), [[1], [1], [1]]);
  assert.ok(states[0].length >= 3);
  const brief = (list) => list.map(({ state, retryAt }) => [state, retryAt]);
  assert.deepEqual(brief(states[1]), brief(states[0]));
  assert.deepEqual(brief(states[2]), brief(states[0]));
});

test('a follower that becomes visible makes the leader try at once', async (t) => {
  const { world, all } = await tabs(t, 2);
  t.mock.method(Math, 'random', () => 0.999);
  world.network = false;
  world.dropAll();
  await pass(20_000);
  assert.equal(all[1].realtime.state, 'waiting');
  world.network = true;
  all[1].fire('visibilitychange');
  await settle();
  assert.equal(all[1].realtime.state, 'open');
});

test('a leader in the back/forward cache leads no more, and comes back as a follower', async (t) => {
  const { world, all, got } = await tabs(t, 2);
  all[0].fire('pagehide', { persisted: true });
  await pass(100);
  world.publish('a', 1);
  await pass(100);
  assert.deepEqual(got(), [[], [1]]);
  assert.equal(world.channels.size, 1, 'a frozen tab has no channel');
  assert.equal(world.locks.length, 2, 'nor does it wait for the lock: the other has that, and its own');
  all[0].fire('pageshow', { persisted: true });
  await pass(100);
  assert.deepEqual(got(), [[1], [1]]);
  world.publish('a', 2);
  await pass(100);
  assert.deepEqual(got(), [[1, 2], [1, 2]]);
  assert.equal(sockets(world).length, 1);
  assert.equal(all[0].realtime.state, 'open');
  await pass(10_000);
  world.publish('a', 3);
  await pass(100);
  assert.deepEqual(got(), [[1, 2, 3], [1, 2, 3]], 'its farewell was for its former self');
});

test('a tab that is gone leaves its rooms, unless it is back within five seconds', async (t) => {
  const { world, all } = await tabs(t, 2);
  const [socket] = world.sockets;
  const left = () => socket.sent.filter(({ op }) => op == 'leave').map(({ room }) => room);
  all[1].realtime.subscribe('b');
  await pass(100);
  all[1].fire('pagehide', { persisted: false });
  await pass(3000);
  assert.deepEqual(left(), []);
  const again = await world.tab('/rt/');
  again.realtime.subscribe('b');
  await pass(5000);
  assert.deepEqual(left(), []);
  again.fire('pagehide', { persisted: false });
  await pass(6000);
  assert.deepEqual(left(), ['b'], 'a is still wanted');
});

test('a room is left when the last tab leaves it', async (t) => {
  const { world, all } = await tabs(t, 2);
  const [socket] = world.sockets;
  const left = () => socket.sent.filter(({ op }) => op == 'leave').length;
  all[0].subscription.close();
  await pass(100);
  assert.equal(left(), 0);
  world.publish('a', 1);
  await pass(100);
  assert.deepEqual(all[1].got, [1]);
  all[1].subscription.close();
  await pass(100);
  assert.equal(left(), 1);
});

test('signals and states of a follower', async (t) => {
  const { world, all } = await tabs(t, 2);
  const signals = all.map(({ subscription }) => events(subscription, 'signal'));
  all[1].subscription.signal('typing', 1);
  all[1].subscription.setState({ name: 'Ann' });
  await pass(100);
  const sent = world.sockets[0].sent.slice(-2);
  assert.deepEqual(sent.map(({ op, room }) => [op, room]), [['signal', 'a'], ['state', 'a']]);
  world.sockets[0].write({ op: 'signal', room: 'a', event: 'typing', at: 'now' });
  await pass(100);
  assert.deepEqual(signals.map(({ length }) => length), [1, 1]);
});

test('a leader that may not come back ends alone; the others try for themselves', async (t) => {
  const { world, all } = await tabs(t, 2);
  world.dropAll(4403);
  await pass(100);
  assert.equal(all[0].realtime.state, 'closed');
  assert.equal(all[1].realtime.state, 'open');
});

test('closed while it waits for its lock: it is no tab any more, and takes nothing from the others', async (t) => {
  const { world, all } = await tabs(t, 1);
  const { request } = navigator.locks;
  const granted = [];
  navigator.locks.request = (name, options, run) => {
    if (/\d$/.test(name)) return new Promise((done) => granted.push(() => done(run({}))));
    return request(name, options, run);
  };
  const late = await world.tab('/rt/');
  late.realtime.subscribe('a');
  late.realtime.close();
  for (const grant of granted) grant();
  await pass(20_000);
  assert.equal(world.channels.size, 1);
  assert.equal(all[0].realtime.state, 'open');
  assert.equal(world.sockets.length, 1);
});
