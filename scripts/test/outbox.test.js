// Publishing, and giving a message up.
import assert from 'node:assert/strict';
import test from 'node:test';
import { World, events, pass, settle } from './world.js';

const opened = async (t, options, storage) => {
  const world = new World();
  t.after(() => world.end());
  const tab = await world.tab('/rt/', { share: false, ...options }, storage);
  tab.realtime.subscribe('a');
  await pass(1500);
  return { world, ...tab };
};
const log = (world, room = 'a') => (world.logs[room] ?? []).map(({ data }) => data);
const outcome = (promise) => promise.then((value) => value.id, (error) => error.status ?? error.name);

for (const transport of ['websocket', 'sse', 'poll'])
  test(`${transport}: published, acknowledged, with its key`, async (t) => {
    const { world, realtime } = await opened(t, { transports: [transport] });
    const promise = realtime.publish('a', { n: 1 }, { event: 'order' });
    assert.equal(realtime.pending('a')[0].key, promise.key);
    await pass(100);
    const { id, at, key } = await promise;
    assert.deepEqual([id, at, key], [world.logs.a[0].id, 'now', promise.key]);
    assert.equal(world.logs.a[0].key, key);
    assert.deepEqual(realtime.pending('a'), []);
    const other = realtime.publish('a', 2);
    assert.notEqual(other.key, key);
    assert.ok(key.length >= 22, '128 bits');
    assert.equal(realtime.publish('a', 3, { key: 'mine' }).key, 'mine');
    await pass(500);
    assert.deepEqual(log(world), [{ n: 1 }, 2, 3]);
  });

test('what is published while not open is sent in order when it is', async (t) => {
  const { world, realtime } = await opened(t);
  world.network = false;
  world.dropAll();
  await pass(100);
  const all = [1, 2, 3].map((n) => realtime.publish('a', n));
  const other = realtime.publish('b', 4);
  await pass(20_000);
  assert.deepEqual(realtime.pending('a').map(({ data }) => data), [1, 2, 3]);
  world.network = true;
  await pass(31_000);
  await Promise.all([...all, other]);
  assert.deepEqual(log(world), [1, 2, 3]);
  assert.deepEqual(log(world, 'b'), [4]);
});

test('an answer that was lost: sent again under the same key, published once', async (t) => {
  const { world, realtime } = await opened(t);
  const [socket] = world.sockets;
  const promise = realtime.publish('a', 1);
  socket.deaf = false;
  socket.write = () => {};
  await settle();
  assert.deepEqual(log(world), [1]);
  world.dropAll();
  await pass(1000);
  assert.equal((await promise).id, world.logs.a[0].id);
  assert.deepEqual(log(world), [1]);
});

test('an answer that was lost, and a connection with another conn, as after a takeover by a tab: published once', async (t) => {
  const { world, realtime } = await opened(t);
  const [socket] = world.sockets;
  const promise = realtime.publish('a', 1);
  socket.deaf = false;
  socket.write = () => {};
  await settle();
  assert.deepEqual(log(world), [1]);
  const first = realtime.conn;
  realtime.conn = undefined;
  world.dropAll();
  await pass(1000);
  assert.notEqual(realtime.conn, first);
  assert.equal((await promise).id, world.logs.a[0].id);
  assert.deepEqual(log(world), [1]);
  await realtime.publish('a', 2, { key: promise.key });
  assert.deepEqual(log(world), [1, 2]);
});

for (const transport of ['websocket', 'sse', 'poll'])
  test(`${transport}: a page that only publishes has a conn, to which its keys belong`, async (t) => {
    const world = new World();
    t.after(() => world.end());
    const { realtime } = await world.tab('/rt/', { share: false, transports: [transport] });
    await Promise.all([realtime.publish('a', 1, { key: 'k' }), pass(1500)]);
    const { conn } = realtime;
    assert.ok(conn);
    realtime.subscribe('a');
    await pass(1500);
    assert.equal(realtime.conn, conn);
    await Promise.all([realtime.publish('a', 1, { key: 'k' }), pass(1500)]);
    assert.deepEqual(log(world), [1]);
  });

test('one of a room is on its way at a time: the order is kept when one is refused', async (t) => {
  const { world, realtime } = await opened(t);
  world.refuse.publish = { status: 429, title: 'too many', retry_ms: 3000, times: 1 };
  const all = [1, 2, 3].map((n) => realtime.publish('a', n));
  const other = realtime.publish('b', 'other room');
  await pass(2800);
  assert.deepEqual(log(world), []);
  assert.deepEqual(log(world, 'b'), ['other room']);
  await pass(1250); // and up to a quarter more
  await Promise.all([...all, other]);
  assert.deepEqual(log(world), [1, 2, 3]);
});

for (const status of [400, 403, 413, 422])
  test(`refused with ${status}: rejected, and the next one goes on`, async (t) => {
    const { world, realtime } = await opened(t);
    world.refuse.publish = { status, title: 'no', detail: 'not this', field: 'data', times: 1 };
    const bad = realtime.publish('a', 1);
    const good = realtime.publish('a', 2);
    await assert.rejects(bad, (error) => {
      assert.equal(error.constructor.name.length > 0, true);
      assert.ok(error instanceof Error);
      const { title, detail, field, key, room, message } = error;
      assert.deepEqual(
        [error.status, title, detail, field, key, room, message],
        [status, 'no', 'not this', 'data', bad.key, 'a', 'not this'],
      );
      return true;
    });
    await good;
    assert.deepEqual(log(world), [2]);
  });

test('the outbox is bounded', async (t) => {
  const { world, realtime } = await opened(t, { outbox: 2 });
  world.network = false;
  world.dropAll();
  await pass(100);
  const results = [1, 2, 3].map((n) => outcome(realtime.publish('a', n)));
  assert.equal(await results[2], 499);
  world.network = true;
  await pass(31_000);
  assert.deepEqual(log(world), [1, 2]);
});

test('a hundred by default', async (t) => {
  const { world, realtime } = await opened(t);
  world.network = false;
  world.dropAll();
  await pass(100);
  const results = Array.from({ length: 101 }, (_, n) => outcome(realtime.publish('a', n)));
  assert.equal(await results[100], 499);
  assert.equal(realtime.pending('a').length, 100);
});

test('outbox 0: nothing is taken while not open, and nothing kept', async (t) => {
  const { world, realtime, storage } = await opened(t, { outbox: 0 });
  await Promise.all([realtime.publish('a', 1), pass(100)]);
  assert.deepEqual(log(world), [1]);
  world.deafTo = 'publish';
  const lost = outcome(realtime.publish('a', 'secret'));
  await pass(10);
  assert.ok(!JSON.stringify(storage).includes('secret'));
  world.network = false;
  world.dropAll();
  await pass(100);
  assert.equal(await outcome(realtime.publish('a', 2)), 499);
  realtime.close();
  assert.equal(await lost, 499);
});

test('a reload: the outbox is sent by the next page, once', async (t) => {
  const storage = {};
  const first = await opened(t, {}, storage);
  first.world.network = false;
  first.world.dropAll();
  await pass(100);
  for (const n of [1, 2]) first.realtime.publish('a', n, { event: 'e', key: 'k' + n });
  first.fire('pagehide', { persisted: false });
  first.world.end();
  const world = new World();
  t.after(() => world.end());
  const second = await world.tab('/rt/', { share: false }, storage);
  assert.deepEqual(
    second.realtime.pending('a').map(({ key, data, event }) => [key, data, event]),
    [
      ['k1', 1, 'e'],
      ['k2', 2, 'e'],
    ],
  );
  second.realtime.subscribe('a');
  await pass(200);
  assert.deepEqual(log(world), [1, 2]);
  assert.deepEqual(second.realtime.pending('a'), []);
  second.fire('pagehide', { persisted: false });
  const third = await world.tab('/rt/', { share: false }, storage);
  third.realtime.subscribe('a');
  await pass(200);
  assert.deepEqual(log(world), [1, 2]);
});

test('what was tried more than four minutes ago is not sent again, but reported', async (t) => {
  const storage = {};
  const first = await opened(t, {}, storage);
  first.world.deafTo = 'publish';
  const tried = first.realtime.publish('a', 'tried', { key: 'tried' }).catch((error) => error);
  first.realtime.publish('b', 'also tried', { key: 'also' }).catch(() => {});
  await pass(100);
  first.world.network = false;
  first.world.dropAll();
  await pass(1000);
  first.realtime.publish('c', 'never tried', { key: 'never' });
  await pass(241_000);
  first.world.network = true;
  first.world.deafTo = '';
  first.fire('online');
  await pass(1000);
  const error = await tried;
  assert.deepEqual([error.status, error.key], [499, 'tried']);
  assert.deepEqual(log(first.world), []);
  assert.deepEqual(log(first.world, 'c'), ['never tried']);

  // The same for a message of an earlier page: no promise is left, so it is an event.
  first.world.deafTo = 'publish';
  first.realtime.publish('a', 'old', { key: 'old' }).catch(() => {});
  await pass(100);
  first.fire('pagehide', { persisted: false });
  await pass(241_000);
  first.world.deafTo = '';
  const second = await first.world.tab('/rt/', { share: false }, storage);
  const errors = events(second.realtime, 'error');
  second.realtime.subscribe('a');
  await pass(1000);
  assert.deepEqual(errors.map(({ status, key, room }) => [status, key, room]), [[499, 'old', 'a']]);
  assert.deepEqual(log(first.world), []);
  assert.deepEqual(second.realtime.pending('a'), []);
});

test('discard, and abort signals', async (t) => {
  const { world, realtime } = await opened(t);
  world.network = false;
  world.dropAll();
  await pass(100);
  const abort = new AbortController();
  const aborted = outcome(realtime.publish('a', 1, { signal: abort.signal }));
  const { key } = realtime.publish('a', 2);
  const kept = realtime.publish('a', 3);
  abort.abort();
  assert.equal(await aborted, 'AbortError');
  assert.equal(await outcome(realtime.publish('a', 4, { signal: abort.signal })), 'AbortError');
  realtime.discard(key);
  realtime.discard('unknown');
  assert.deepEqual(realtime.pending('a').map(({ data }) => data), [3]);
  world.network = true;
  await pass(31_000);
  await kept;
  assert.deepEqual(log(world), [3]);
});

test('close rejects what waits', async (t) => {
  const { world, realtime } = await opened(t);
  world.deafTo = 'publish';
  const results = [1, 2].map((n) => outcome(realtime.publish('a', n)));
  await pass(10);
  realtime.close();
  assert.deepEqual(await Promise.all(results), [499, 499]);
  assert.deepEqual(realtime.pending('a'), []);
});

test('a storage that is full or forbidden is no obstacle', async (t) => {
  const storage = new Proxy({}, {
    get() {
      throw new Error('SecurityError');
    },
    set() {
      throw new Error('QuotaExceededError');
    },
  });
  const { world, realtime } = await opened(t, {}, storage);
  await Promise.all([realtime.publish('a', 1), pass(100)]);
  assert.deepEqual(log(world), [1]);
});
