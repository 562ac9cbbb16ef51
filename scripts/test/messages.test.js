// Each message once, in order, and every gap told; who is there.
import assert from 'node:assert/strict';
import test from 'node:test';
import { World, events, pass, record } from './world.js';

const TRANSPORTS = ['websocket', 'sse', 'poll'];

const opened = async (t, options) => {
  const world = new World();
  t.after(() => world.end());
  const tab = await world.tab('/rt/', { share: false, ...options });
  return { world, ...tab };
};

for (const transport of TRANSPORTS) {
  const over = { transports: [transport] };

  test(`${transport}: from now, from the last ones, after a cursor`, async (t) => {
    const { world, realtime } = await opened(t, over);
    const [, second] = [1, 2, 3].map((n) => world.publish('a', n));
    [4, 5].map((n) => world.publish('b', n));
    const now = record(realtime.subscribe('a'));
    await pass(1500);
    const last = record(realtime.subscribe('b', { last: 1 }));
    await pass(1500);
    const cursor = record(realtime.subscribe('c/!*(é,=)', { after: world.publish('c/!*(é,=)', 6).id }));
    await pass(1500);
    world.publish('c/!*(é,=)', 7);
    world.publish('a', 8);
    await pass(1500);
    assert.deepEqual([now, last, cursor], [[8], [5], [7]]);
    const again = record(realtime.subscribe('a', { after: second.id }));
    await pass(1500);
    assert.deepEqual([now, again], [[8], [3, 8]], 'two readers of one room');
  });

  test(`${transport}: nothing is lost and nothing twice over cuts`, async (t) => {
    const { world, realtime } = await opened(t, over);
    const got = [record(realtime.subscribe('a')), record(realtime.subscribe('b'))];
    await pass(1500);
    for (let n = 0; n < 30; n++) {
      world.publish('a', n);
      world.publish('b', n);
      if (n % 7 == 3) world.dropAll();
      await pass(n % 3 ? 100 : 2500);
    }
    await pass(40_000);
    const want = Array.from({ length: 30 }, (_, n) => n);
    assert.deepEqual(got, [want, want]);
  });

  test(`${transport}: a gap is told, with what is still kept after it`, async (t) => {
    const { world, realtime } = await opened(t, over);
    const subscription = realtime.subscribe('a');
    const got = record(subscription);
    const gaps = events(subscription, 'gap');
    await pass(1500);
    world.publish('a', 1);
    await pass(1500);
    world.network = false;
    world.dropAll();
    await pass(26_000);
    world.publish('a', 2);
    world.publish('a', 3);
    world.forget('a', world.offset - 1);
    world.network = true;
    await pass(62_000);
    assert.deepEqual(got, [1, 3]);
    assert.deepEqual(gaps.map(({ reason }) => reason), ['expired']);
    world.dropAll();
    world.restart();
    world.publish('a', 4);
    await pass(62_000);
    assert.deepEqual(got, [1, 3, 4], 'a new epoch');
    assert.equal(gaps.length, 2);
    assert.equal(gaps[1].reason, 'epoch');
    assert.ok(subscription.cursor.startsWith(world.epoch));
  });
}

test('a message at or before the cursor is dropped, and so is a gap that ends there', async (t) => {
  const { world, realtime } = await opened(t);
  const subscription = realtime.subscribe('a', { after: 'e1.100' });
  const got = record(subscription);
  const gaps = events(subscription, 'gap');
  await pass(100);
  const [socket] = world.sockets;
  for (const id of ['e1.101', 'e1.101', 'e1.99', 'e1.1000', 'e1.999', 'e2.5', 'e2.5'])
    socket.write({ id, room: 'a', data: id });
  socket.write({ op: 'gap', room: 'a', to: 'e2.4' });
  assert.deepEqual(got, ['e1.101', 'e1.1000', 'e2.5']);
  assert.equal(gaps.length, 0);
  socket.write({ op: 'gap', room: 'a', to: 'e2.6' });
  assert.equal(gaps.length, 1);
  assert.equal(subscription.cursor, 'e2.6');
});

test('what comes before the answer to a join is not taken', async (t) => {
  const { world, realtime } = await opened(t);
  world.publish('a', 1);
  world.deafTo = 'join';
  const got = record(realtime.subscribe('a', { last: 1 }));
  await pass(100);
  world.sockets[0].write({ id: 'e1.500', room: 'a', data: 'too early' });
  world.deafTo = '';
  world.dropAll();
  await pass(1000);
  assert.deepEqual(got, [1]);
});

test('a reader that wants little does not take from one that is behind', async (t) => {
  const { world, realtime } = await opened(t);
  const first = record(realtime.subscribe('a'));
  await pass(100);
  world.lag = true;
  for (let n = 1; n <= 5; n++) world.publish('a', n);
  const second = record(realtime.subscribe('a', { last: 2 }));
  await pass(100);
  const third = record(realtime.subscribe('a'));
  await pass(100);
  world.lag = false;
  world.pump();
  world.publish('a', 6);
  await pass(100);
  assert.deepEqual(first, [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(second.slice(-3), [4, 5, 6]);
  assert.deepEqual(third.at(-1), 6);
});

test('a refused join ends its subscription alone; one that is to wait is tried again', async (t) => {
  const { world, realtime } = await opened(t);
  const a = realtime.subscribe('a');
  await pass(100);
  world.refuse.join = { status: 403, title: 'no', times: 1 };
  const b = realtime.subscribe('b');
  const errors = events(b, 'error');
  await pass(100);
  assert.equal(errors[0].status, 403);
  world.refuse.join = { status: 429, title: 'slowly', retry_ms: 2000, times: 1 };
  const c = record(realtime.subscribe('c'));
  await pass(1900);
  world.dropAll();
  await pass(1000);
  world.publish('c', 1);
  world.publish('b', 1);
  await pass(2000);
  world.publish('c', 2);
  await pass(100);
  assert.equal(c.at(-1), 2);
  assert.equal(world.sockets.at(-1).sent.filter(({ op, room }) => op == 'join' && room == 'b').length, 0);
  assert.equal(a.cursor.startsWith('e1'), true);
});

test('left: the server ends a membership', async (t) => {
  const { world, realtime } = await opened(t);
  const a = realtime.subscribe('a');
  const left = events(a, 'left');
  const got = record(a);
  await pass(100);
  world.sockets[0].write({ op: 'left', room: 'a', status: 403, title: 'kicked' });
  assert.equal(left[0].status, 403);
  world.dropAll();
  await pass(1000);
  world.publish('a', 1);
  await pass(100);
  assert.deepEqual(got, []);
});

test('the last subscription of a room leaves it, by close or by signal', async (t) => {
  const { world, realtime } = await opened(t);
  const abort = new AbortController();
  const one = realtime.subscribe('a');
  const two = realtime.subscribe('a', { signal: abort.signal });
  const got = record(two);
  await pass(100);
  one.close();
  one.close();
  world.publish('a', 1);
  await pass(100);
  assert.deepEqual(got, [1]);
  const [socket] = world.sockets;
  assert.equal(socket.sent.some(({ op }) => op == 'leave'), false);
  abort.abort();
  await pass(100);
  assert.equal(socket.sent.filter(({ op }) => op == 'leave').length, 1);
});

test('signals come and go, without a place', async (t) => {
  const { world, realtime } = await opened(t);
  const a = realtime.subscribe('a');
  const signals = events(a, 'signal');
  realtime.signal('a', 'typing', 'too early');
  await pass(100);
  const { cursor } = a;
  a.signal('typing', { name: 'Ann' });
  world.sockets[0].write({ op: 'signal', room: 'a', event: 'typing', data: 1, at: 'now' });
  await pass(100);
  assert.equal(signals.length, 1);
  assert.equal(a.cursor, cursor);
  const sent = world.sockets[0].sent.filter(({ op }) => op == 'signal');
  assert.deepEqual(sent, [{ op: 'signal', room: 'a', event: 'typing', data: { name: 'Ann' } }]);
});

test('presence: snapshots, differences early and late, leaves of unknown ones', async (t) => {
  const { world, realtime } = await opened(t);
  const a = realtime.subscribe('a', { state: { name: 'me' } });
  const seen = events(a, 'presence');
  await pass(100);
  const [socket] = world.sockets;
  const here = () => [...realtime.presence('a').here.keys()].join();
  const write = (fields) => socket.write({ op: 'presence', room: 'a', ...fields });
  write({ members: 2, enter: [{ id: 'early' }] });
  write({ members: 2, here: [{ id: 'x', name: 'X' }, { id: 'y' }] });
  assert.equal(here(), 'x,y');
  write({ members: 3, enter: [{ id: 'z' }, { id: 'x', name: 'X2' }], leave: [{ id: 'nobody', why: 'left' }] });
  write({ members: 2, enter: [], update: [{ id: 'z', state: 1 }], leave: [{ id: 'y', why: 'timeout' }] });
  assert.equal(here(), 'x,z');
  assert.deepEqual(realtime.presence('a').here.get('x'), { id: 'x', name: 'X2' });
  assert.deepEqual(realtime.presence('a').here.get('z'), { id: 'z', state: 1 });
  assert.equal(a.members, 2);
  assert.deepEqual(seen.at(-1).leave, [{ id: 'y', why: 'timeout' }]);
  assert.equal(seen.at(-1).here, realtime.presence('a').here);
  write({ members: 4, enter: [] });
  assert.equal(here(), 'x,z', 'others came, who show nothing');
  assert.equal(a.members, 4);
  write({ members: 2000 });
  assert.equal(a.members, 2000);
  assert.equal(here(), '', 'a number alone');
  a.close();
  write({ members: 5, enter: [{ id: 'w' }] });
  assert.equal(realtime.presence('b').members, 0);
});

for (const transport of TRANSPORTS)
  test(`${transport}: a state is shown, also after a cut`, async (t) => {
    const { world, realtime } = await opened(t, { transports: [transport] });
    const states = [];
    const { command } = world;
    world.command = (session, object) => {
      if ('state' in object) states.push(object.state);
      command.call(world, session, object);
    };
    const { fetch } = globalThis;
    globalThis.fetch = (url, init) => {
      const state = new URL(url).searchParams.get('state');
      if (state) states.push(JSON.parse(state));
      return fetch(url, init);
    };
    const a = realtime.subscribe('a', { state: 1 });
    await pass(2500);
    assert.deepEqual(new Set(states), new Set([1]));
    a.setState(2);
    await pass(100);
    assert.equal(states.at(-1), 2);
    world.network = false;
    world.dropAll();
    await pass(27_000);
    states.length = 0;
    world.network = true;
    await pass(62_000);
    assert.deepEqual(new Set(states), new Set([2]));
  });

test('history is a page; refused, it rejects', async (t) => {
  const { world, realtime } = await opened(t);
  world.publish('a', 1);
  const page = await realtime.history('a', { before: 'e1.5', limit: 10 });
  assert.equal(page.messages[0].data, 1);
  assert.equal(world.requests[0].url.search, '?room=a&before=e1.5&limit=10');
  world.status = 403;
  await assert.rejects(realtime.subscribe('a').history(), (error) => error.title == 'no' && error instanceof Error);
  const abort = new AbortController();
  abort.abort();
  await assert.rejects(realtime.history('a', { signal: abort.signal }), { name: 'AbortError' });
});

test('sockets and streams: readers of the same room keep their own cursors', async (t) => {
  const { world, realtime } = await opened(t, { transports: ['sse'] });
  const one = record(realtime.subscribe('a'));
  await pass(100);
  world.publish('a', 1);
  await pass(100);
  const two = record(realtime.subscribe('a', { last: 5 }));
  await pass(100);
  world.publish('a', 2);
  await pass(100);
  assert.deepEqual([one, two], [[1, 2], [1, 2]]);
});

for (const wishes of [[5, 1], [1, 5], [5, undefined], [undefined, 5]])
  test(`readers that begin together want ${wishes}: the one that wants more gets it`, async (t) => {
    const { world, realtime } = await opened(t);
    for (let n = 1; n <= 6; n++) world.publish('a', n);
    const got = wishes.map((last) => record(realtime.subscribe('a', { last })));
    await pass(100);
    assert.deepEqual(got[wishes.indexOf(5)], [2, 3, 4, 5, 6]);
  });
