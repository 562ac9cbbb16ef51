import assert from 'node:assert/strict';
import { test } from 'node:test';

import { KEYS, TEXTS, cleanName, readMessage, roomOf, splitLinks } from '../realtime-chat-text.js';
import { localeOf } from '../realtime-element.js';

/** The addresses that a text is found to hold. */
const links = (text) => splitLinks(text).filter((_, i) => i % 2);

test('addresses become links without what ends the sentence', () => {
  for (const [text, ...want] of [
    ['see https://example.com/a?b=c#d.', 'https://example.com/a?b=c#d'],
    ['(see http://example.com/)', 'http://example.com/'],
    ['https://en.wikipedia.org/wiki/Go_(game)!', 'https://en.wikipedia.org/wiki/Go_(game)'],
    ['a@b.c is mailto:a@b.c, right?', 'mailto:a@b.c'],
    ['看https://example.com/路径。', 'https://example.com/路径'],
    ['HTTPS://EXAMPLE.COM and https://b.example', 'HTTPS://EXAMPLE.COM', 'https://b.example'],
    ['"https://example.com/"onclick="x', 'https://example.com/'],
    ['<https://example.com/>', 'https://example.com/'],
    ['https://', ...[]],
    ['javascript:alert(1) data:text/html,x vbscript:x file:///etc/passwd', ...[]],
    ['xhttps://example.com', ...[]],
    ['https://example.com/\u202Egnp.exe', 'https://example.com/'],
  ]) assert.deepEqual(links(text), want, text);
});

test('no part of a text gets lost beside its links', () => {
  for (const text of ['', 'plain', 'https://a.example https://b.example', 'x https://a.example/(b)c)d. y', 'mailto:x', '\nhttps://a.example\n']) {
    assert.equal(splitLinks(text).join(''), text);
  }
});

test('an address takes no longer than its length', { timeout: 5_000 }, () => {
  for (const text of ['https://a' + '('.repeat(60_000), 'https://a' + '.'.repeat(60_000), 'https://a.'.repeat(6_000), 'https://a' + '()'.repeat(30_000)]) {
    splitLinks(text);
  }
});

test('names stay in their line', () => {
  for (const [name, want] of [
    ['  Ann ', 'Ann'],
    ['\u202Eevil\u2066', 'evil'],
    ['a\nb\u2028c', 'a b c'],
    ['👨‍👩‍👧‍👦', '👨‍👩‍👧‍👦'],
    ['x'.repeat(50), 'x'.repeat(40)],
    ['👨‍👩‍👧‍👦'.repeat(41), '👨‍👩‍👧‍👦'.repeat(40)],
    ['z' + '\u0301'.repeat(10_000), 'ź\u0301\u0301'],
    ['e\u0301', 'é'],
    ['Bo\u200bb\u00ad\ufeff\u2060', 'Bob'],
    ['Bo\u200db\u200c', 'Bob'],
    ['\u200b\u200d\ufe0f \u3164\u2800\u115f', ''],
    ['می\u200cخواهم', 'می\u200cخواهم'],
    ['❤\ufe0f', '❤\ufe0f'],
    [undefined, ''],
    [null, ''],
    [{}, '[object Object]'],
  ]) assert.equal(cleanName(name), want);
});

test('no name has a mark like that of a verified one', () => {
  for (const name of ['Ann ✓', 'Ann✔\ufe0f', '☑ Ann', 'Ann ✅', '√Ann', 'A🗸nn', 'Ann 🗹', 'Ann\u202e ✓', 'Ann \u2066✓\u2069'])
    assert.equal(cleanName(name), 'Ann', name);
});

test('a message is whatever anybody published', () => {
  for (const [message, text, name, sure = false, from] of [
    [{ data: 'hi' }, 'hi', ''],
    [{ data: { text: 'hi', name: 'Ann' } }, 'hi', 'Ann'],
    [{ data: { text: 'hi', name: 'Ann' }, from: { id: '1', name: 'Bob' } }, 'hi', 'Bob', true, '1'],
    [{ data: { text: 'hi', name: 'Ann' }, from: { id: '1' } }, 'hi', 'Ann', false, '1'],
    [{ data: 'hi', from: { id: 'bob' } }, 'hi', 'bob', true, 'bob'],
    [{ data: { text: 'hi', name: 'Ann' }, from: { id: '~gx7', guest: true } }, 'hi', 'Ann', false, '~gx7'],
    [{ data: 'hi', from: { id: '~gx7', guest: true } }, 'hi', '', false, '~gx7'],
    [{ data: 'hi', from: { id: '~lx7' } }, 'hi', '', false, '~lx7'],
    [{ data: 'hi', from: { id: '~lx7', name: 'Zoe' } }, 'hi', 'Zoe', true, '~lx7'],
    [{ data: 'hi', from: { id: '~bshop', backend: true } }, 'hi', 'shop', true, '~bshop'],
    [{ data: { text: 'hi', name: 'Bot' }, from: { id: '~bshop', backend: true } }, 'hi', 'Bot', false, '~bshop'],
    [{ data: { text: 7 } }, '7', ''],
    [{ data: { a: [1] } }, '{"a":[1]}', ''],
    [{ data: null }, 'null', ''],
    [{ data: 0 }, '0', ''],
  ]) assert.deepEqual(readMessage(message), { text_: text, name_: name, sure_: sure, from_: from });
});

test('a page has a room', () => {
  for (const [path, want] of [
    ['/', 'index'],
    ['/index.html', 'index'],
    ['/blog/', 'blog'],
    ['/blog/index.php', 'blog'],
    ['/blog/post.html', 'blog/post'],
    ['/blog/post', 'blog/post'],
    ['/a', 'a'],
    ['/-/a', 'a'],
    ['/caf%C3%A9', 'café'],
    ['/cafe%CC%81', 'caf\u00e9'],
    ['/a%E2%80%8B*b/e%E2%80%8D%CC%81/', 'ab/\u00e9'],
    ['/100%', '100%'],
    ['/a//b/%2e%2e/%00c/', 'a/b/c'],
    ['/日本'.repeat(50), '本/' + '日本/'.repeat(27) + '日本'],
  ]) assert.equal(roomOf(path), want, path);
  const long = roomOf('/x'.repeat(300));
  assert.ok(long.length <= 200 && !/^[-/]|\/$/.test(long), long);
  assert.ok(new Blob([roomOf('/' + '%F0%9F%98%80'.repeat(300))]).size <= 200);
});

test('every language has every text', () => {
  for (const [language, texts] of Object.entries(TEXTS)) {
    assert.equal(texts.split('|').length, KEYS.length, language);
    assert.deepEqual(texts.split('|').map((it) => it.includes('#')), KEYS.map((it) => it === 'here' || it === 'typing'), language);
  }
});

test('fifty links and no more, and all of the text', { timeout: 5_000 }, () => {
  const text = 'https://a.example '.repeat(3000);
  assert.equal(links(text).length, 50);
  assert.equal(splitLinks(text).join(''), text);
});

test('a language as people write it', () => {
  for (const lang of ['en_US', 'de', 'zh-Hant-TW', 'x', '', '!', 'en_US.UTF-8']) new Intl.DateTimeFormat(localeOf(lang)).format(0);
  assert.deepEqual(localeOf('en_US'), ['en-US']);
});
