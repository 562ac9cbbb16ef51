// Who the page says its user is, with a token.
import assert from 'node:assert/strict';
import test from 'node:test';
import { TokenWorld } from './token-world.js';
import { events, pass, record } from './world.js';

const TRANSPORTS = ['websocket', 'sse', 'poll'];
const ann = { id: 'ann', name: 'Ann' };

/** A page whose function returns `t1`, `t2` and so on, all of them Ann's and good. */
const begun = async (t, options = {}, url = '/rt/') => {
  const world = new TokenWorld();
  t.after(() => world.end());
  world.asked = 0;
  const token = async () => {
    world.tokens['t' + ++world.asked] = ann;
    return 't' + world.asked;
  };
  const join = async (more) => {
    const tab = await world.tab(url, { token, share: false, ...options, ...more });
    tab.errors = events(tab.realtime, 'error');
    tab.states = events(tab.realtime, 'statechange');
    tab.room = tab.realtime.subscribe('a');
    tab.got = record(tab.room);
    await pass(1500);
    return tab;
  };
  return { world, join };
};
const alive = (world) => world.sockets.filter(({ closed }) => !closed);

for (const transport of TRANSPORTS) {
  test(`${transport}: every request shows the token, and the page is its user`, async (t) => {
    const { world, join } = await begun(t, { transports: [transport] });
    const { realtime } = await join();
    assert.deepEqual(realtime.user, ann);
    await Promise.all([realtime.publish('a', 1), pass(1000)]);
    await Promise.all([realtime.history('a'), pass(1000)]);
    assert.ok(world.shown.length > 1 && world.shown.every((token) => /^t\d$/.test(token)), String(world.shown));
    if (transport == 'websocket') assert.equal(world.sockets[0].protocol[0], 'realtime.v1');
    for (const { url } of world.requests) assert.ok(!/t\d/.test(url.search), 'it is in no URL');
  });

  test(`${transport}: a token that expires is followed by another, and nothing is lost or doubled`, async (t) => {
    const { world, join } = await begun(t, { transports: [transport] });
    const { realtime, got, errors } = await join();
    await pass(12_000);
    for (let n = 1; n <= 3; n++) {
      world.publish('a', `${n} before`);
      world.expire('t' + world.asked);
      const sent = realtime.publish('a', `${n} by the page`);
      world.publish('a', `${n} after`);
      await pass(15_000);
      await sent;
    }
    assert.deepEqual(got.toSorted(), [1, 2, 3].flatMap((n) => [`${n} after`, `${n} before`, `${n} by the page`]));
    assert.equal(new Set(got).size, got.length);
    assert.deepEqual(errors, []);
    assert.equal(realtime.state, 'open');
    assert.equal(realtime.transport, transport);
  });

  test(`${transport}: a token that is refused is asked for once more, then the client gives up`, async (t) => {
    const { world, join } = await begun(t, { transports: [transport] });
    let asked = 0;
    const { realtime, errors, room } = await join({ token: () => 'bad' + ++asked });
    const ended = events(room, 'error');
    await pass(60_000);
    assert.equal(realtime.state, 'closed');
    assert.equal(asked, 2);
    assert.deepEqual(errors.map(({ status, title }) => [status, title]), [[401, 'refused']]);
    assert.ok(ended.length + world.shown.length <= 12, 'no loop');
  });

  test(`${transport}: while the page has no answer, nobody is asked as a stranger`, async (t) => {
    const { world, join } = await begun(t, { transports: [transport] });
    let asked = 0;
    const token = () => {
      if (++asked <= 4) throw new Error('no network');
      world.tokens.good = ann;
      return 'good';
    };
    const { realtime, errors, states } = await join({ token });
    await pass(30_000);
    assert.equal(realtime.state, 'open');
    assert.deepEqual(realtime.user, ann);
    assert.ok(world.shown.every((token) => token == 'good'), String(world.shown));
    assert.equal(realtime.transport, transport);
    assert.ok(states.some(({ state }) => state == 'waiting'));
    assert.deepEqual(errors, []);
  });
}

for (const transport of ['websocket', 'sse'])
  test(`${transport}: after a warning the token is renewed in place`, async (t) => {
    const { world, join } = await begun(t, { transports: [transport] });
    const { realtime, states } = await join();
    const before = [states.length, world.sockets.length];
    for (let n = 0; n < 3; n++) {
      const token = 't' + world.asked;
      world.warn();
      await pass(2000);
      world.expire(token);
      await pass(2000);
    }
    assert.deepEqual(world.renewed, ['t2', 't3', 't4']);
    assert.deepEqual([states.length, world.sockets.length], before, 'the connection did not end');
    world.requests.length = 0;
    if (transport == 'sse') await Promise.all([realtime.publish('a', 1), pass(1000)]);
    assert.ok(world.requests.every(({ headers }) => headers.Authorization == 'Bearer t4'));
  });

test('a warning that the page has no answer to does no harm', async (t) => {
  const { world, join } = await begun(t);
  let fails = false;
  const token = () => {
    if (fails) throw new Error('no network');
    world.tokens['g' + ++world.asked] = ann;
    return 'g' + world.asked;
  };
  const { realtime, states } = await join({ token });
  const before = states.length;
  fails = true;
  world.warn();
  await pass(2000);
  assert.equal(states.length, before);
  fails = false;
  world.expire('g1');
  await pass(2000);
  assert.equal(realtime.state, 'open');
  assert.deepEqual(world.renewed, undefined);
});

test('who gets a user in place has another conn', async (t) => {
  const { world, join } = await begun(t);
  world.tokens.guest = { id: '~g1', guest: true };
  let next = 'guest';
  const { realtime, states } = await join({ token: () => next });
  assert.equal(realtime.user.guest, true);
  const before = realtime.conn;
  world.tokens[(next = 'anns')] = ann;
  world.newConn = 'c-ann';
  world.warn();
  await pass(500);
  assert.deepEqual([realtime.user, realtime.conn, realtime.limits], [ann, 'c-ann', states[1].limits]);
  assert.notEqual(before, 'c-ann');
  assert.deepEqual([states.at(-1).user, states.at(-1).state], [ann, 'open']);
  world.dropAll();
  await pass(2000);
  assert.equal(new URL(alive(world)[0].url).searchParams.get('conn'), 'c-ann');
});

test('a token may be text, or nothing', async (t) => {
  const { world, join } = await begun(t);
  world.tokens.text = ann;
  assert.deepEqual((await join({ token: 'text' })).realtime.user, ann);
  for (const nothing of ['', undefined, null]) {
    const { realtime } = await join({ token: () => nothing });
    assert.deepEqual([realtime.state, realtime.user], ['open', undefined]);
  }
  assert.deepEqual(world.shown, ['text', undefined, undefined, undefined]);
});

test('sse: a user who has signed out is none, when the stream begins again', async (t) => {
  const { world, join } = await begun(t, { transports: ['sse'] });
  let next = 'anns';
  world.tokens.anns = ann;
  const { realtime } = await join({ token: () => next });
  assert.deepEqual(realtime.user, ann);
  next = '';
  await Promise.all([realtime.history('a'), pass(500)]); // asks for the token
  realtime.subscribe('b'); // another stream of the same connection
  await pass(1500);
  assert.equal(realtime.user, undefined);
});

test('without a token, one reconnects once after 4401', async (t) => {
  const { world, join } = await begun(t, { token: undefined });
  const { realtime, errors } = await join();
  world.dropAll(4401);
  await pass(12_000);
  assert.equal(realtime.state, 'open');
  world.websocket = 'refused';
  world.status = 401;
  world.dropAll(4401);
  await pass(60_000);
  assert.equal(realtime.state, 'closed');
  assert.deepEqual(errors.map(({ status }) => status), [401]);
  assert.equal(world.sockets.length, 3);
});

test('tabs of one user share a connection, whatever token each has; a tab of another user has its own', async (t) => {
  const { world, join } = await begun(t, { share: true });
  const first = await join();
  const second = await join();
  assert.equal(alive(world).length, 1);
  world.tokens.bens = { id: 'ben' };
  const third = await join({ token: 'bens' });
  await pass(5000);
  assert.equal(third.realtime.user?.id, 'ben');
  assert.deepEqual([first.realtime.user, second.realtime.user], [ann, ann]);
  assert.equal(alive(world).length, 2);
  world.warn();
  await pass(1000);
  first.realtime.close(); // the second takes over, with a token of its own
  await pass(2000);
  assert.deepEqual(second.realtime.user, ann);
  assert.equal(second.realtime.state, 'open');
});

test('to a hub of another origin, who has a token is not anonymous', async (t) => {
  const { world, join } = await begun(t, {}, 'https://other.example/rt/');
  const { realtime } = await join();
  assert.deepEqual(realtime.user, ann);
  assert.ok(!new URL(world.sockets[0].url).searchParams.has('anonymous'));
});
