// What build/locals.js marks in a script: every local name and nothing else.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../build/locals.js', import.meta.url));
const locals = (input) => JSON.parse(execFileSync(process.execPath, [program, 'x'], { input, stdio: ['pipe', 'pipe', 'ignore'] }));

/** What a script becomes. @type {[string, string][]} */
const marked = [
  ['let a=1;a=b.a', 'let a_0=1;a_0=b.a'],
  ['let a={a:b,[c]:1},c', 'let a_0={a:b,[c_0]:1},c_0'],
  ['let f=({a,b:c=a,...d})=>({a,c,d,e})', 'let f_0=({a:a_0,b:c_0=a_0,...d_0})=>({a:a_0,c:c_0,d:d_0,e})'],
  ['let{a=1}=b', 'let{a:a_0=1}=b'],
  ['let f=(a,b=a)=>{var c;{var d=()=>c}let e=d;return e}', 'let f_0=(a_0,b_0=a_0)=>{var c_0;{var d_0=()=>c_0}let e_0=d_0;return e_0}'],
  ['let A=class{a=1;b(a){return this.a+a}static{a}}', 'let A_0=class{a=1;b(a_0){return this.a+a_0}static{a}}'],
  ['let A=class B{c=()=>B};B', 'let A_0=class B_0{c=()=>B_0};B'],
  ['for(let a of a)a;a;try{}catch(b){b}b', 'for(let a_0 of a_0)a_0;a;try{}catch(b_0){b_0}b'],
  ['import{a,b as c}from"d";export{a,c as e};export*from"f";import.meta', 'import{a as a_0,b as c_0}from"d";export{a_0 as a,c_0 as e};export*from"f";import.meta'],
];

for (const [from, to] of marked) test(`${from} becomes ${to}`, () => assert.equal(locals(from).script, to));

test('a scope knows what is used within', () => {
  const { scopes } = locals('let a,b;let f=c=>{let d=()=>a+c;return e}');
  assert.deepEqual(scopes, [
    { declared: ['x: a_0', 'x: b_0', 'x: f_0'], outer: [] },
    { declared: ['x: c_0', 'x: d_0'], outer: ['x: a_0'] },
    { declared: [], outer: ['x: a_0', 'x: c_0'] },
  ]);
});

for (const script of ['function a(){}', 'class A{}', 'a:for(;;)break a', 'export let a=1'])
  test(`it refuses ${script}`, () => assert.throws(() => locals(script)));
