// The declarations are made from the sources.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = join(root, 'node_modules/typescript/bin/tsc');

test('the declarations are current (npm run types makes them)', { skip: !existsSync(tsc) && 'npm ci first' }, (t) => {
  const made = mkdtempSync(join(tmpdir(), 'types-'));
  t.after(() => rmSync(made, { recursive: true }));
  execFileSync(process.execPath, [join(root, 'build/declarations.js'), made], { stdio: 'inherit' });
  for (const name of ['realtime.d.ts', 'realtime-socket.d.ts'])
    assert.equal(readFileSync(join(root, name), 'utf8'), readFileSync(join(made, name), 'utf8'), name);
});

test('a small project compiles with --strict, and misspelt rooms, events and fields do not', { skip: !existsSync(tsc) && 'npm ci first' }, () => {
  execFileSync(process.execPath, [tsc, '-p', join(root, 'test/types')], { stdio: 'inherit' });
});

test('everything can be imported where there is no browser, and a client be made', () => {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const script = Object.keys(exports)
    .filter((name) => !name.endsWith('.json'))
    .map((name) => `const m${name.replace(/\W/g, '')} = await import('caddy-realtime${name.slice(1)}');`)
    .join('\n');
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', `${script}\nconsole.log(new m.Realtime('/rt/').state, typeof mchat.RealtimeChat, typeof msocket.RealtimeSocket)`], { cwd: root });
  assert.equal(String(out), 'idle function function\n');
});
