// Writes into a chat in Firefox, as somebody who has signed in by a cookie, by a page that asks for a password, or not:
// node firefox_recipe.mjs <firefox> <page> <author> <cookie> <page that signs in>. Any failure ends it with an error.
import assert from 'node:assert/strict';
import puppeteer from 'puppeteer-core';

const [, , executablePath, address, author, cookie, signIn] = process.argv;
const browser = await puppeteer.launch({ browser: 'firefox', executablePath, headless: true });
const page = await browser.newPage();
const faults = [];
page.on('pageerror', ({ message }) => faults.push(message));
if (signIn) {
  const { origin, username, password } = new URL(signIn);
  await page.authenticate({ username, password });
  await page.goto(origin + new URL(signIn).pathname);
  await page.authenticate(null); // from now on it is Firefox that remembers
}
await page.goto(address);
if (cookie) {
  await page.evaluate((text) => void (document.cookie = text), cookie);
  await page.reload();
}
const open = () => page.waitForFunction(() => document.querySelector('realtime-chat').realtime?.state == 'open');
await open();
assert.equal(await page.evaluate(() => document.querySelector('realtime-chat').realtime.transport), 'websocket');
await page.evaluate(() => document.querySelector('realtime-chat').send('Hello from Firefox'));
const sent = () => document.querySelector('realtime-chat').shadowRoot.querySelector('[data-id]:not([data-id=""])')?.parentNode.innerText.includes('Hello from Firefox');
await page.waitForFunction(sent);
await page.reload();
await open();
await page.waitForFunction(sent);
const shown = await page.evaluate(() => [...document.querySelector('realtime-chat').shadowRoot.querySelectorAll('[part~=author]')].at(-1).textContent);
if (author) assert.equal(shown, author);
assert.deepEqual(faults, []);
await browser.close();
