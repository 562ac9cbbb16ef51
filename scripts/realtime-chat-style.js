// The look of <realtime-chat>. Properties that begin with --_ are private.

export const LOOK = /* css */ `
:host {
  --_f: var(--realtime-background, light-dark(#fff, #141a19));
  --_t: var(--realtime-text, light-dark(#1a2421, #e4ebe8));
  --_a: var(--realtime-accent, light-dark(#0b6b57, #17705c));
  --_o: var(--realtime-accent-text, oklch(from var(--_a) clamp(0, (.65 - l) * 999, 1) 0 0));
  --_r: var(--realtime-radius, 1.1rem);
  --_m: color-mix(in oklab, var(--_t) 68%, var(--_f));
  --_l: 1px solid color-mix(in oklab, var(--_t) 15%, var(--_f));
  display: block;
  font: 1rem/1.45 var(--realtime-font, system-ui);
  color: var(--_t);
}
:host([hidden]),
[hidden],
:host(:not([form=bubble])) .toggle {
  display: none !important;
}
* {
  box-sizing: border-box;
  margin: 0;
  font: inherit;
  color: inherit;
}
button,
summary,
input,
textarea {
  border: 0;
  border-radius: 2rem;
  background: none;
}
.panel,
.jump {
  border: var(--_l);
  border-radius: var(--_r);
  background: var(--_f);
}
.panel {
  position: relative;
  display: flex;
  flex-direction: column;
  height: var(--realtime-height, 32rem);
  max-height: 100dvh;
  overflow: hidden;
}
:host([form=full]) .panel {
  position: fixed;
  inset: 0;
  height: auto;
  border: 0;
  border-radius: 0;
}
.header,
.row,
.box {
  display: flex;
  align-items: center;
  gap: 1rem;
}
.header {
  padding: .8rem 1rem;
  border-bottom: var(--_l);
}
.title,
.input,
.body,
.typing {
  flex: 1;
}
.title,
.author,
.toggle {
  font-weight: 600;
}
.news {
  position: absolute;
  clip-path: inset(50%);
  overflow: hidden;
  width: 1px;
  height: 1px;
}
.verified:after {
  content: "✓";
  margin-inline-start: .3rem;
  padding: 0 .3rem;
  border-radius: 1rem;
  background: var(--_a);
  color: var(--_o);
}
.people,
.row,
.status,
.time,
.trouble,
.error,
.jump,
.message:before {
  color: var(--_m);
  font-size: .8rem;
}
.list {
  max-height: 9rem;
  overflow: auto;
  list-style: none;
}
.body {
  position: relative;
  min-height: 0;
}
.log {
  height: 100%;
  overflow: hidden auto;
  overscroll-behavior: contain;
  overflow-anchor: none;
  display: flex;
  flex-direction: column;
  padding: .3rem max(1rem, 50% - 24rem);
  outline-offset: -1px;
}
.empty {
  position: absolute;
  inset: 40% 0 auto;
  text-align: center;
}
.message {
  display: flex;
  flex-direction: column;
  align-items: start;
  padding-top: .8rem;
  overflow-wrap: anywhere;
}
.message:before {
  content: attr(data-mark);
  align-self: center;
  line-height: 3;
}
.message:first-child {
  margin-top: auto;
}
.follow {
  padding-top: .3rem;
}
.head {
  display: flex;
  gap: .5rem;
  align-items: baseline;
  padding: 0 .3rem;
}
.author {
  color: oklch(from var(--_m) l .11 var(--_h));
  font-size: .9rem;
}
.follow .head,
.own .author {
  position: absolute;
  clip-path: inset(50%);
}
.text {
  max-width: 85%;
  padding: .5rem .8rem;
  border-radius: var(--_r);
  background: color-mix(in oklab, var(--_t) 7%, var(--_f));
  white-space: pre-wrap;
  overflow: clip;
  unicode-bidi: plaintext;
  text-align: start;
}
.link {
  unicode-bidi: isolate;
}
.own {
  align-items: end;
}
.own .text,
.send,
.toggle {
  background: var(--_a);
  color: var(--_o);
}
.pending .text {
  outline: 2px dashed var(--_m);
}
.message:not(.failed) .trouble {
  display: none;
}
.trouble,
.error {
  color: light-dark(#b3261e, #ff9a90);
}
.trouble button,
.more,
.people summary {
  min-width: 24px;
  min-height: 24px;
}
.trouble button,
.more {
  text-decoration: underline;
}
.jump {
  position: absolute;
  inset: auto 0 .5rem;
  width: max-content;
  margin: auto;
  padding: .5rem .8rem;
}
.closed {
  padding: .8rem 1rem;
  text-align: center;
}
.closed:first-letter {
  text-transform: uppercase;
}
.composer {
  padding: .3rem max(1rem, 50% - 24rem) calc(1rem + env(safe-area-inset-bottom));
}
.name {
  width: 9rem;
  margin: 0 .3rem .3rem;
  border-bottom: 1px dashed;
  border-radius: 0;
  font-size: 1rem;
}
.typing {
  text-align: end;
}
.box {
  align-items: end;
  padding: .3rem;
  border: 1px solid var(--_m);
  border-radius: 2rem;
}
.box:focus-within {
  outline: 2px solid var(--_a);
  outline-offset: -1px;
}
.input {
  height: 2.5rem;
  max-height: 9rem;
  padding: .5rem .8rem;
  outline: 0;
  resize: none;
}
::placeholder {
  color: var(--_m);
}
:placeholder-shown {
  direction: inherit;
}
.send {
  width: 2.5rem;
  height: 2.5rem;
  font-size: 1.2rem;
}
:host([form=bubble]) {
  position: fixed;
  z-index: 999;
  bottom: calc(1rem + env(safe-area-inset-bottom));
  inset-inline-end: 1rem;
  filter: drop-shadow(0 2px 8px #0003);
}
:host([form=bubble]) .panel {
  width: min(24rem, 100vw - 2rem);
  max-height: calc(100dvh - 2rem);
}
.toggle {
  padding: .8rem 1rem;
  list-style: none;
}
[open]>.toggle {
  position: absolute;
  z-index: 1;
  top: 0;
  inset-inline-end: 0;
  background: none;
  color: inherit;
  font-size: 0;
}
[open]>.toggle:before {
  content: "×";
  font-size: 1.5rem;
}
:host([form=bubble]) .header {
  padding-inline-end: 3rem;
}
.badge:not(:empty) {
  margin-inline-start: .5rem;
  padding: 0 .5rem;
  border-radius: 1rem;
  background: var(--_o);
  color: var(--_a);
}
`;
