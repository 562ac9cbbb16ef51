// custom-elements.json lists what the elements have.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { RealtimeChat } from '../realtime-chat-element.js';
import { LOOK } from '../realtime-chat-style.js';
import { KEYS } from '../realtime-chat-text.js';
import { RealtimeValue } from '../realtime-value.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const analyzer = join(root, 'node_modules/@custom-elements-manifest/analyzer/cem.js');

const { modules } = JSON.parse(readFileSync(join(root, 'custom-elements.json'), 'utf8'));
const elements = Object.fromEntries(modules.flatMap(({ declarations }) => declarations.map((declaration) => [declaration.tagName, declaration])));
const sources = (pattern) =>
  readdirSync(root)
    .filter((name) => pattern.test(name))
    .map((name) => readFileSync(join(root, name), 'utf8'))
    .join('\n');
const chat = sources(/^realtime-chat.*\.js$/);

/** The names in a list, sorted. */
const listed = (element, list) => element[list].map(({ name }) => name).sort();
/** The words that the groups of a pattern match in a text, sorted and without repetition. */
const found = (text, ...patterns) => {
  const matches = patterns.flatMap((pattern) => [...text.matchAll(pattern)].flatMap(([, word]) => word.trim().split(/\s+/)));
  return [...new Set(matches)].filter((word) => word).sort();
};

test('each part of the chat is listed, and no other', () => {
  const made = found(chat, /\b(?:make|field)\(\s*'\w+',\s*'([\w ]+)'/g, /\bact\('(\w+)'/g, /\? '(\w+ \w+)' : '\w+'/g);
  const styled = found(LOOK.replace(/\{[^}]*\}/g, '{}'), /\.([a-z]+)/g);
  assert.ok(made.length > 20 && styled.length > 30, `${made} ${styled}`);
  const parts = listed(elements['realtime-chat'], 'cssParts');
  assert.deepEqual(made.filter((part) => !parts.includes(part)), [], 'made and not listed');
  assert.deepEqual(styled.filter((part) => !parts.includes(part)), [], 'styled and not listed');
  assert.deepEqual(parts.filter((part) => !made.includes(part) && !styled.includes(part)), [], 'listed and not made');
});

test('each event is listed, and no other', () => {
  assert.deepEqual(listed(elements['realtime-chat'], 'events'), found(chat, /\bfire_?\('(\w+)'/g).map((type) => 'realtime-' + type));
  assert.deepEqual(listed(elements['realtime-value'], 'events'), found(sources(/^realtime-value\.js$/), /new CustomEvent\('([\w-]+)'/g));
});

test('each custom property is listed, and no other', () => {
  assert.deepEqual(listed(elements['realtime-chat'], 'cssProperties'), found(LOOK, /var\((--realtime-[\w-]+)/g));
});

test('each slot is listed, and no other', () => {
  assert.deepEqual(listed(elements['realtime-chat'], 'slots'), ['', ...found(chat, /\bslot\('([\w-]+)'/g)]);
});

test('each attribute is listed', () => {
  const texts = KEYS.map((key) => 'text-' + key);
  assert.deepEqual(listed(elements['realtime-chat'], 'attributes'), [...RealtimeChat.observedAttributes, ...texts].sort());
  assert.deepEqual(listed(elements['realtime-value'], 'attributes'), [...RealtimeValue.observedAttributes, 'trend'].sort());
});

test('the manifest is current (npm run manifest makes it)', { skip: !existsSync(analyzer) && 'npm ci first' }, (t) => {
  const made = mkdtempSync(join(tmpdir(), 'manifest-'));
  t.after(() => rmSync(made, { recursive: true }));
  execFileSync(process.execPath, [analyzer, 'analyze', '--quiet', '--outdir', relative(root, made)], { cwd: root });
  assert.equal(readFileSync(join(root, 'custom-elements.json'), 'utf8'), readFileSync(join(made, 'custom-elements.json'), 'utf8'));
});
