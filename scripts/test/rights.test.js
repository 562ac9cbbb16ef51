// Who may do what.
import assert from 'node:assert/strict';
import test from 'node:test';
import { World, events, pass, record } from './world.js';

const TRANSPORTS = ['websocket', 'sse', 'poll'];
const ALL = ['publish', 'signal', 'history', 'presence'];

const opened = async (t, transport, prepare = (world) => {}, options = { share: false }) => {
  const world = new World();
  t.after(() => world.end());
  prepare(world);
  const tab = await world.tab('/rt/', { ...options, transports: [transport] });
  return { world, ...tab, errors: events(tab.realtime, 'error'), states: events(tab.realtime, 'statechange') };
};

/** Subscribes, and keeps what comes. */
const read = (realtime, room, options) => {
  const subscription = realtime.subscribe(room, options);
  const got = record(subscription);
  const all = Object.fromEntries(['join', 'can', 'left', 'error'].map((type) => [type, events(subscription, type)]));
  return { subscription, got, ...all };
};
const brief = (refusals) => refusals.map(({ status, title, room }) => [status, title, room]);
/** How often the server was asked for a room. */
const asked = (world, room) =>
  world.sockets.flatMap(({ sent }) => sent).filter((it) => it.op == 'join' && it.room == room).length +
  world.requests.filter(({ query }) => query.getAll('room').includes(room)).length;

for (const transport of TRANSPORTS) {
  const told = transport != 'poll'; // pages do not say what may be done

  test(`${transport}: what may be done is known from the join on`, async (t) => {
    const { world, realtime } = await opened(t, transport, (world) => (world.rights.news = ['history']));
    const lobby = read(realtime, 'lobby');
    const news = read(realtime, 'news');
    assert.equal(news.subscription.can, undefined);
    await pass(1500);
    assert.deepEqual(lobby.subscription.can, told ? ALL : undefined);
    assert.deepEqual(news.subscription.can, told ? ['history'] : undefined);
    assert.deepEqual(news.join.at(-1).can, told ? ['history'] : undefined);
    world.rights.news = [];
    world.dropAll();
    await pass(2000);
    assert.deepEqual(news.subscription.can, told ? [] : undefined, 'after a break');
    assert.deepEqual(news.can, []);
  });

  test(`${transport}: a change of what may be done`, async (t) => {
    const { world, realtime, states } = await opened(t, transport);
    const lobby = read(realtime, 'lobby');
    const news = read(realtime, 'news');
    const second = read(realtime, 'news', { last: 1 });
    await pass(3000);
    const before = states.length;
    world.allow('news', ['history']);
    await pass(1500);
    world.allow('news', ALL);
    await pass(1500);
    const want = told ? [['news', ['history']], ['news', ALL]] : [];
    for (const { can } of [news, second]) assert.deepEqual(can.map(({ room, can }) => [room, can]), want);
    assert.deepEqual(news.subscription.can, told ? ALL : undefined);
    assert.deepEqual(lobby.can, []);
    assert.equal(states.length, before);
  });

  test(`${transport}: a room is taken away, and the others do not notice`, async (t) => {
    const { world, realtime, states } = await opened(t, transport);
    const lobby = read(realtime, 'lobby', { state: 1 });
    const news = read(realtime, 'news');
    const offers = read(realtime, 'offers');
    await pass(2000);
    const before = [states.length, lobby.join.length, offers.join.length];
    const streams = world.requests.length;
    world.allow('news', null);
    if (!told) world.publish('offers', 0); // the page of several rooms ends, and the next one is refused
    await pass(3000);
    if (told) assert.deepEqual(brief(news.left), [[403, 'not allowed any more', 'news']]);
    else assert.deepEqual(brief(news.error), [[401, 'not signed in', 'news']]);
    assert.equal(news.left.length + news.error.length, 1);
    const count = asked(world, 'news');
    for (const room of ['lobby', 'news', 'offers']) world.publish(room, 1);
    await pass(60_000);
    assert.deepEqual([lobby.got, news.got, offers.got], [[1], [], told ? [1] : [0, 1]]);
    assert.deepEqual([states.length, lobby.join.length, offers.join.length], before, 'no break');
    const leaves = [...world.sockets.flatMap(({ sent }) => sent), ...world.requests.flatMap(({ body }) => (body ? JSON.parse(body) : []))].filter(({ op }) => op == 'leave');
    assert.deepEqual(leaves, [], 'it was left already');
    if (transport == 'sse') assert.equal(world.requests.length, streams, 'the streams go on');
    assert.equal(asked(world, 'news'), count, 'it is asked for no more');
    world.dropAll();
    await pass(5000);
    assert.equal(asked(world, 'news'), count, 'nor after a break');
    world.allow('news', ALL);
    const again = read(realtime, 'news', { last: 9 });
    await pass(3000);
    assert.deepEqual(again.got, [1]);
  });

  for (const state of [undefined, { name: 'Ann' }])
    test(`${transport}: rooms of streams of their own are taken away, state ${JSON.stringify(state)}`, async (t) => {
      const { world, realtime, states } = await opened(t, transport);
      const news = read(realtime, 'news', { state });
      await pass(2000);
      const lobby = state && read(realtime, 'lobby');
      await pass(2000);
      const before = states.length;
      world.allow('news', null);
      await pass(3000);
      assert.deepEqual(brief([...news.left, ...news.error]), told ? [[403, 'not allowed any more', 'news']] : [[401, 'not signed in', 'news']]);
      assert.equal(realtime.state, 'open');
      assert.ok(states.slice(before).every(({ state }) => state == 'open'), 'the connection did not end');
      const requests = world.requests.length + world.sockets.length;
      await pass(20_000);
      assert.ok(world.requests.length + world.sockets.length - requests <= (state ? 2 : 0), 'there is nothing to ask for');
      world.publish('lobby', 1);
      await pass(2000);
      if (state) assert.deepEqual([lobby.got, lobby.join.length], [[1], 1]);
    });

  for (const user of [undefined, { id: 'ann' }])
    test(`${transport}: a join of ${user?.id ?? 'nobody'} is refused, and the others are not`, async (t) => {
      const { world, realtime } = await opened(t, transport, (world) => Object.assign(world, { user, rights: { news: null } }));
      const alone = read(realtime, 'news');
      await pass(3000);
      const want = user ? [[403, 'not allowed', 'news']] : [[401, 'not signed in', 'news']];
      assert.deepEqual(brief(alone.error), want);
      assert.ok(alone.error[0] instanceof Error);
      assert.equal(realtime.state, 'open');
      const lobby = read(realtime, 'lobby');
      const news = read(realtime, 'news');
      await pass(3000);
      assert.deepEqual(brief(news.error), want);
      const count = asked(world, 'news');
      world.publish('lobby', 1);
      await pass(60_000);
      assert.deepEqual(lobby.got, [1]);
      assert.deepEqual([alone.error.length, news.error.length, news.left.length], [1, 1, 0]);
      assert.equal(asked(world, 'news'), count);
      assert.equal(realtime.state, 'open');
    });

  test(`${transport}: a message is refused, and nothing else is`, async (t) => {
    const { world, realtime, errors } = await opened(t, transport, (world) => (world.rights.news = []));
    const news = read(realtime, 'news');
    await pass(2000);
    const sent = realtime.publish('news', 1);
    const other = realtime.publish('lobby', 2);
    await pass(2000);
    await assert.rejects(sent, { status: 401, title: 'not signed in', room: 'news', key: sent.key });
    await other;
    assert.deepEqual(brief(errors), [[401, 'not signed in', 'news']]);
    assert.deepEqual([news.error, news.left, realtime.state], [[], [], 'open']);
    await assert.rejects(realtime.history('news'), { status: 401 });
  });

  test(`${transport}: every tab is told`, async (t) => {
    const { world, realtime } = await opened(t, transport, undefined, {});
    const rooms = [read(realtime, 'news')];
    await pass(2000);
    for (let n = 0; n < 2; n++) {
      const tab = await world.tab('/rt/', { transports: [transport] });
      rooms.push(read(tab.realtime, 'news'));
      if (!n) rooms.other = read(tab.realtime, 'lobby');
      await pass(3000);
    }
    assert.deepEqual(rooms.map(({ subscription }) => subscription.can), Array(3).fill(told ? ALL : undefined));
    world.allow('news', ['history']);
    await pass(2000);
    assert.deepEqual(rooms.map(({ can }) => can.length), Array(3).fill(told ? 1 : 0));
    world.allow('news', null);
    if (!told) world.publish('lobby', 0);
    await pass(3000);
    assert.deepEqual(rooms.map(({ left, error }) => [left.length, error.length]), Array(3).fill(told ? [1, 0] : [0, 1]));
    const count = asked(world, 'news');
    world.publish('lobby', 1);
    await pass(30_000);
    assert.equal(rooms.other.got.at(-1), 1);
    assert.equal(asked(world, 'news'), count);
  });
}

for (const transport of ['sse', 'poll'])
  test(`${transport}: a room whose old messages may not be read is not refused with another`, async (t) => {
    const { world, realtime } = await opened(t, transport, (world) => (world.rights = { news: null, lobby: ['publish'] }));
    const news = read(realtime, 'news');
    const lobby = read(realtime, 'lobby');
    await pass(5000);
    assert.deepEqual(brief(news.error), [[401, 'not signed in', 'news']]);
    world.publish('lobby', 1);
    await pass(2000);
    assert.deepEqual([lobby.got, lobby.error], [[1], []]);
  });

// A browser asks for a password if a request with credentials gets a challenge for Basic. Only the visitor may bring that about.
for (const transport of ['sse', 'poll'])
  for (const user of [undefined, { id: 'ann' }])
    test(`${transport}: what ${user?.id ?? 'a visitor'} has not asked for raises no password dialog`, async (t) => {
      const { world, realtime } = await opened(t, transport, (world) => (world.user = user));
      const inits = [];
      const { fetch } = globalThis;
      globalThis.fetch = (url, init) => (inits.push(init), fetch(url, init));
      const lobby = read(realtime, 'lobby', { state: { name: '' } });
      const news = read(realtime, 'news');
      await pass(2000);
      lobby.subscription.setState({ name: 'Ann' });
      await pass(2000);
      lobby.subscription.signal('typing');
      news.subscription.close();
      await pass(2000);
      await Promise.all([realtime.publish('lobby', 1), pass(2000)]);
      const posts = inits.filter(({ method }) => method == 'POST').map(({ body, credentials = 'same-origin' }) => [JSON.parse(body).op, credentials]);
      const own = user ? 'same-origin' : 'omit';
      const want = [['signal', own], ['leave', own], ['publish', 'same-origin']];
      assert.deepEqual(posts, user ? [['state', own], ...want] : want);
      const shown = world.requests.some(({ method, query }) => method == 'GET' && query.get('state') == '{"name":"Ann"}');
      assert.ok(user || shown, 'the URL has the state');
      assert.deepEqual([lobby.got, realtime.state], [[1], 'open']);
    });
