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
  execFileSync(process.execPath, [tsc, '-p', root, '--outDir', made], { stdio: 'inherit' });
  for (const name of ['realtime.d.ts', 'realtime-socket.d.ts'])
    assert.equal(readFileSync(join(root, name), 'utf8'), readFileSync(join(made, name), 'utf8'), name);
});
