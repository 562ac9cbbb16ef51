// Tries the client in Firefox: node firefox.mjs <firefox> <site> <the same by another origin>, and for tokens
// the URL of Cleo's. Any failure ends it with an error.
import assert from 'node:assert/strict';
import puppeteer from 'puppeteer-core';

const [, , executablePath, site, foreign, tokens] = process.argv;
const browser = await puppeteer.launch({ browser: 'firefox', executablePath, headless: true });
const faults = [];

/** What Firefox says of a WebSocket that is refused below, and of one whose page is closed meanwhile. */
const expected = /can.t establish a connection|was interrupted while the page was loading/;

/** Makes a client in a room. @param {import('puppeteer-core').Page} page */
const enter = async (page, room, options = {}, url = '/rt/') => {
  await page.evaluate(
    async (room, options, url) => {
      const { Realtime } = await import(url + '-/realtime.js');
      const rt = new Realtime(url, options);
      const got = [];
      const sub = rt.subscribe(room, { last: 100 });
      sub.addEventListener('message', ({ detail }) => got.push([detail.data, detail.from?.id ?? '']));
      Object.assign(window, { Realtime, rt, got, sub });
    },
    room,
    options,
    url,
  );
  await page.waitForFunction(() => rt.state == 'open');
  return page;
};

/** Opens a page with a client in a room, after `before` has run there. */
const open = async (room, options = {}, before = () => {}) => {
  const page = await browser.newPage();
  page.on('pageerror', ({ message }) => expected.test(message) || faults.push(message));
  await page.evaluateOnNewDocument(before);
  await page.goto(site + '/e2e/blank');
  return enter(page, room, options);
};
const publish = (page, room, text) => page.evaluate((room, text) => rt.publish(room, text).then(() => 0), room, text);
const has = (page, text) => page.waitForFunction((text) => got.some(([data]) => data == text), {}, text);

/** Every transport works, and what is refused costs itself alone. */
async function everyTransport() {
  for (const transport of ['websocket', 'sse', 'poll']) {
    const page = await open('ff-' + transport, { transports: [transport], share: false });
    assert.equal(await page.evaluate(() => rt.transport), transport);
    await publish(page, 'ff-' + transport, 'by it \u2028 \u{1F600}');
    await has(page, 'by it \u2028 \u{1F600}');
    const outcome = await page.evaluate(async (room) => {
      const status = (promise) => promise.then(() => 'sent', (error) => error.status);
      const joined = Array.from({ length: 30 }, (_, n) => new Promise((done) => rt.subscribe('r' + n).addEventListener('join', done)));
      const refused = new Promise((done) => rt.subscribe('bad//name').addEventListener('error', ({ detail }) => done(detail.status)));
      const sent = ['x'.repeat(300_000), 1n, 'after'].map((data) => status(rt.publish(room, data)));
      await Promise.all(joined);
      return [await refused, ...(await Promise.all(sent)), rt.state];
    }, 'ff-' + transport);
    assert.deepEqual(outcome, [400, 413, 400, 'sent', 'open'], transport);
    await page.close();
  }
}

/** Tabs share a connection, and go on when the one that has it is closed. */
async function tabsShare() {
  const [first, second, third] = [await open('ff'), await open('ff'), await open('ff')];
  const conns = await Promise.all([first, second, third].map((page) => page.evaluate(() => rt.conn)));
  assert.equal(new Set(conns).size, 1);
  assert.equal(
    await second.evaluate(async () => {
      const all = Array.from({ length: 20 }, () => new Realtime('/rt/'));
      for (const client of all) (client.subscribe('x'), client.close());
      await new Promise((done) => setTimeout(done, 500));
      return all.filter(({ state }) => state != 'closed').length;
    }),
    0,
    'made and closed in one task',
  );
  await first.close();
  await publish(second, 'ff', 'the first is gone');
  await has(third, 'the first is gone');
  await second.close();
  await third.close();
}

/** Nobody speaks as somebody else. */
async function ownName() {
  const second = await open('ff');
  for (const [cookie, user] of [['user=ann; path=/', 'ann'], ['user=; path=/; max-age=0', '']]) {
    await second.evaluate((cookie) => (document.cookie = cookie), cookie);
    const page = await open('ff');
    await publish(page, 'ff', 'as ' + user);
    await has(page, 'as ' + user);
    assert.deepEqual(await page.evaluate(() => got.at(-1)), ['as ' + user, user]);
    await second.waitForFunction((user) => (rt.user?.id ?? '') == user, {}, user);
    await page.close();
  }
  await second.close();
}

/** 40 rooms are there again after a break, and what was taken back meanwhile stays so. */
async function manyRooms() {
  const many = await open('ff-many', { share: false }, () => {
    window.sockets = [];
    window.WebSocket = class extends WebSocket {
      constructor(...a) {
        super(...a);
        sockets.push(this);
      }
    };
  });
  const next = await open('ff-many', { share: false });
  await many.evaluate(async () => {
    window.rooms = Array.from({ length: 40 }, (_, n) => rt.subscribe('ff-many/' + n));
    window.heard = new Set();
    for (const room of rooms) room.addEventListener('message', () => heard.add(room));
    await Promise.all(rooms.map((room) => new Promise((done) => room.addEventListener('join', done, { once: true }))));
    sub.setState({ typing: true });
  });
  await next.waitForFunction(() => [...rt.presence('ff-many').here.values()].some(({ state }) => state?.typing));
  await many.evaluate(async () => {
    for (const socket of sockets) socket.close();
    sub.setState(null);
    await new Promise((done) => rt.addEventListener('statechange', done, { once: true }));
  });
  await many.waitForFunction(() => rt.state == 'open');
  await next.evaluate(() => Promise.all(Array.from({ length: 40 }, (_, n) => rt.publish('ff-many/' + n, n))).then(() => 0));
  await many.waitForFunction(() => heard.size == 40);
  await next.waitForFunction(() => [...rt.presence('ff-many').here.values()].every(({ state }) => !state));
  await many.close();
  await next.close();
}

/** Data is JSON when it is published, whoever leads; every promise is settled. */
async function dataIsJSON() {
  const [leader, follower] = [await open('ff'), await open('ff')];
  for (const page of [leader, follower])
    assert.deepEqual(
      await page.evaluate(async () => {
        const status = (promise) => promise.then(() => 'sent', (error) => error.status);
        const cycle = {};
        cycle.cycle = cycle;
        const outcomes = [new Proxy({ a: 1 }, {}), { toJSON: () => 'json' }, cycle].map((data) => status(rt.publish('ff-json', data)));
        const twice = [1, 2].map((n) => status(rt.publish('ff-json', n, { key: 'one key ' + rt.conn })));
        return [...(await Promise.all(outcomes)), ...(await Promise.all(twice)).map((it) => typeof it != 'undefined')];
      }),
      ['sent', 'sent', 400, true, true],
    );
  assert.equal(
    await follower.evaluate(async () => {
      const client = new Realtime('/rt/?closed');
      const outcomes = [client.publish('ff-json', 1), client.publish('ff-json', 2)].map((promise) => promise.catch(({ status }) => status));
      client.close();
      return (await Promise.all(outcomes)).join();
    }),
    '499,499',
  );
  await leader.close();
  await follower.close();
}

/** What is between refuses WebSockets and streams: long polling is reached. */
async function hindered() {
  for (const [name, refuse] of [
    ['refused', () => Promise.resolve(new Response('', { status: 403 }))],
    ['reset', () => Promise.reject(new TypeError('NetworkError'))],
    ['ended', () => Promise.resolve(new Response('\n', { headers: { 'Content-Type': 'text/event-stream' } }))],
  ]) {
    const page = await open(
      'ff-hindered',
      { share: false },
      `window.WebSocket = class extends WebSocket { constructor(url) { super(url + '&room=bad//name'); } };
       const real = fetch;
       window.fetch = (url, init) => /event-stream/.test(new Headers(init?.headers).get('Accept')) ? (${refuse})() : real(url, init)`,
    );
    assert.equal(await page.evaluate(() => rt.transport), 'poll', name);
    await publish(page, 'ff-hindered', name);
    await has(page, name);
    await page.close();
  }
}

/** A tab that shows no sign of life is no obstacle: its thread is busy, as if it were frozen. */
async function busyTab() {
  const tabs = [await open('ff-busy'), await open('ff-busy'), await open('ff-busy')];
  for (const page of tabs) {
    page.stuck = page.evaluate(() => new Promise((done) => setTimeout(() => {
      for (const end = Date.now() + 15_000; Date.now() < end; );
      done(Date.now());
    })));
    const others = tabs.filter((other) => other != page);
    const begun = Date.now();
    await publish(others[0], 'ff-busy', 'meanwhile ' + tabs.indexOf(page));
    await has(others[1], 'meanwhile ' + tabs.indexOf(page));
    assert.ok(Date.now() < (await page.stuck), 'the others waited for ' + (Date.now() - begun) + ' ms');
    await has(page, 'meanwhile ' + tabs.indexOf(page));
  }
  for (const page of tabs) {
    const got = await page.evaluate(() => got.map(([data]) => data).join());
    assert.equal(got, 'meanwhile 0,meanwhile 1,meanwhile 2');
    await page.close();
  }
}

/** What a browser refuses is done without. */
async function withoutFeatures() {
  for (const [name, before] of Object.entries({
    'no locks': () => Object.defineProperty(navigator, 'locks', { value: undefined }),
    'locks refuse': () => (navigator.locks.request = () => Promise.reject(new DOMException('no', 'SecurityError'))),
    'locks throw': () => (navigator.locks.request = () => { throw new DOMException('no', 'SecurityError'); }),
    'no channel': () => (window.BroadcastChannel = undefined),
    'the channel throws': () => (window.BroadcastChannel = class { constructor() { throw new DOMException('no', 'SecurityError'); } }),
    'no storage': () => {
      for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, { get: () => { throw new DOMException('no', 'SecurityError'); } });
    },
    'storage holds rubbish': () => {
      Storage.prototype.getItem = () => '[}';
      Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };
    },
  })) {
    const page = await open('ff-refused', {}, before);
    await publish(page, 'ff-refused', name);
    await has(page, name);
    await page.close();
  }
}

/** A page that the browser copied, with what is stored, is another client. */
async function copiedPage() {
  const original = await open('ff-copy');
  const opened = new Promise((done) => original.once('popup', done));
  await original.evaluate(() => void window.open(location.href));
  const copy = await opened;
  await copy.waitForFunction(() => document.readyState == 'complete');
  await enter(copy, 'ff-copy');
  await publish(copy, 'ff-copy', 'by the copy');
  await has(original, 'by the copy');
  await original.close();
  await publish(copy, 'ff-copy', 'alone');
  await has(copy, 'alone');
  await copy.close();
}

/** To a hub of another origin everybody is anonymous, with every transport. */
async function foreignHub() {
  for (const transport of ['websocket', 'sse', 'poll']) {
    const page = await browser.newPage();
    await page.goto(site + '/e2e/blank?foreign');
    await page.evaluate(() => (document.cookie = 'user=ann; path=/'));
    await enter(page, 'ff-foreign', { transports: [transport], share: false }, foreign + '/rt/');
    await publish(page, 'ff-foreign', transport);
    await has(page, transport);
    assert.deepEqual(await page.evaluate(() => [...got.at(-1), rt.user?.id ?? '']), [transport, '', ''], transport);
    await page.evaluate(() => (document.cookie = 'user=; path=/; max-age=0'));
    await page.close();
  }
}

/** Tokens of 5 s make Cleo the user, over every transport; where they are renewed in place the connection stays. */
async function shortTokens() {
  for (const transport of ['websocket', 'sse', 'poll']) {
    const page = await browser.newPage();
    await page.goto(site + '/e2e/blank?foreign');
    const states = await page.evaluate(
      async (room, transport, tokens) => {
        const { Realtime } = await import('/rt/-/realtime.js');
        const token = () => fetch(tokens).then((answer) => answer.text()).then((text) => text.trim());
        const rt = new Realtime('/rt/', { token, transports: [transport], share: false });
        const got = [];
        const states = [];
        rt.subscribe(room).addEventListener('message', ({ detail }) => got.push([detail.data, detail.from?.name]));
        await new Promise((done) => rt.addEventListener('statechange', () => rt.state == 'open' && done()));
        rt.addEventListener('statechange', ({ detail }) => states.push(detail.state));
        Object.assign(window, { rt, got });
        for (let n = 0; n < 12; n++) {
          await rt.publish(room, n);
          await new Promise((done) => setTimeout(done, 700));
        }
        return states;
      },
      'ff-tokens-' + transport,
      transport,
      tokens,
    );
    await page.waitForFunction(() => got.length >= 12);
    assert.deepEqual(await page.evaluate(() => got), Array.from({ length: 12 }, (_, n) => [n, 'Cleo']), transport);
    if (transport != 'poll') assert.deepEqual(states, [], transport);
    await page.close();
  }
}

/** A ticker that asks for nobody leaves the chat beside it its people. */
async function tickerBesideChat() {
  const ticker = await open('ff-people', { presence: '0' });
  const people = await open('ff-people');
  await people.waitForFunction(() => rt.presence('ff-people').members == 1);
  await ticker.close();
  await people.waitForFunction(() => rt.state == 'open' && rt.presence('ff-people').members == 1);
  await people.close();
}

/** The chat sends, and shows what it has sent. */
async function chatElement() {
  const chat = await browser.newPage();
  chat.on('pageerror', ({ message }) => faults.push(message));
  await chat.goto(site + '/e2e/chat?room=ff-chat');
  await chat.waitForFunction(() => document.querySelector('realtime-chat').realtime?.state == 'open');
  await chat.evaluate(() => document.querySelector('realtime-chat').send('Hello from Firefox'));
  await chat.waitForFunction(() => document.querySelector('realtime-chat').shadowRoot.querySelector('[data-id]:not([data-id=""])')?.innerText.includes('Hello from Firefox'));
}

const tests = [
  everyTransport,
  tabsShare,
  ownName,
  manyRooms,
  dataIsJSON,
  hindered,
  busyTab,
  withoutFeatures,
  copiedPage,
  foreignHub,
  tickerBesideChat,
  chatElement,
];
for (const test of tokens ? [shortTokens] : tests) await test();
assert.deepEqual(faults, []);
await browser.close();
