// Tries the client in Firefox: node firefox.mjs <firefox> <site>. What is wrong ends it with an error.
import assert from 'node:assert/strict';
import puppeteer from 'puppeteer-core';

const [, , executablePath, site] = process.argv;
const browser = await puppeteer.launch({ browser: 'firefox', executablePath, headless: true });
const faults = [];

/** Opens a page with a client in a room. */
const open = async (room, options = {}) => {
  const page = await browser.newPage();
  page.on('pageerror', ({ message }) => faults.push(message));
  await page.goto(site + '/e2e/blank');
  await page.evaluate(
    async (room, options) => {
      const { Realtime } = await import('/rt/-/realtime.js');
      const rt = new Realtime('/rt/', options);
      const got = [];
      rt.subscribe(room, { last: 100 }).addEventListener('message', ({ detail }) => got.push([detail.data, detail.from?.id ?? '']));
      Object.assign(window, { Realtime, rt, got });
    },
    room,
    options,
  );
  await page.waitForFunction(() => rt.state == 'open');
  return page;
};
const publish = (page, room, text) => page.evaluate((room, text) => rt.publish(room, text).then(() => 0), room, text);
const has = (page, text) => page.waitForFunction((text) => got.some(([data]) => data == text), {}, text);

for (const transport of ['websocket', 'sse', 'poll']) {
  const page = await open('ff-' + transport, { transports: [transport], share: false });
  assert.equal(await page.evaluate(() => rt.transport), transport);
  await publish(page, 'ff-' + transport, 'by it \u2028 \u{1F600}');
  await has(page, 'by it \u2028 \u{1F600}');
  // What is refused costs itself alone.
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

// Tabs share a connection, and go on when the one that has it is closed.
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

// Nobody speaks as somebody else.
for (const [cookie, user] of [['user=ann; path=/', 'ann'], ['user=; path=/; max-age=0', '']]) {
  await second.evaluate((cookie) => (document.cookie = cookie), cookie);
  const page = await open('ff');
  await publish(page, 'ff', 'as ' + user);
  await has(page, 'as ' + user);
  assert.deepEqual(await page.evaluate(() => got.at(-1)), ['as ' + user, user]);
  await second.waitForFunction((user) => (rt.user?.id ?? '') == user, {}, user);
  await page.close();
}

// The chat.
const chat = await browser.newPage();
chat.on('pageerror', ({ message }) => faults.push(message));
await chat.goto(site + '/e2e/chat?room=ff-chat');
await chat.waitForFunction(() => document.querySelector('realtime-chat').realtime?.state == 'open');
await chat.evaluate(() => document.querySelector('realtime-chat').send('Hello from Firefox'));
await chat.waitForFunction(() => document.querySelector('realtime-chat').shadowRoot.querySelector('[data-id]:not([data-id=""])')?.innerText.includes('Hello from Firefox'));

assert.deepEqual(faults, []);
await browser.close();
