// The elements of one <realtime-chat>, except those of its messages.

import { keep } from './realtime-chat-shared.js';
import { LOOK } from './realtime-chat-style.js';

/** @typedef {import('./realtime-chat-words.js').Words} Words */

/**
 * Makes an element that is a part.
 * @param {string} tag
 * @param {string} part
 * @param {Record<string, any>} [props]
 * @param {...(Node | string)} children what is in it
 * @returns {any}
 */
export const make = (tag, part, props, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.part = node.className = part;
  node.append(...children);
  return node;
};

/** @param {string} name @param {Node | string} content shown if the page has nothing for the slot */
const slot = (name, content) => make('slot', '', { name }, content);

export class View {
  hint_ = make('span', 'typing');
  error_ = make('p', 'error', { role: 'alert' });
  count_ = make('summary', '');
  list_ = make('ul', 'list');
  people_ = make('details', 'people', { hidden: true }, this.count_, this.list_);
  /** What screen readers read aloud: no old messages. */
  news_ = make('div', 'news', { role: 'log' });
  jump_ = make('button', 'jump');
  status_ = make('p', 'status', { role: 'status' });
  badge_ = make('span', 'badge');
  reason_ = make('span', '');
  signIn_ = slot('sign-in', '');
  /** In the composer's place: why nobody can write. */
  closed_ = make('div', 'closed', { role: 'status' }, this.reason_, ' ', this.signIn_);
  /** Whether the reader, not the page, has opened or closed the bubble. */
  moved_ = false;

  /** @param {any} host the element @param {Words} words */
  constructor(host, words) {
    const { room } = host;
    const title = words.say_('title');
    const field = (/** @type {string} */ tag, /** @type {string} */ key, /** @type {object} */ props) =>
      make(tag, key, { placeholder: words.say_(key), ariaLabel: words.say_(key), dir: 'auto', ...props });
    this.open_ = 'open ' + room; // its key in the browser's storage
    this.bubble_ = host.form == 'bubble';
    this.nick_ = field('input', 'name', { maxLength: 40, value: keep('name') ?? '' });
    this.input_ = field('textarea', 'input', { rows: 1, enterKeyHint: 'send', value: keep('text ' + room, null, 'sessionStorage') ?? '' });
    this.composer_ = make('form', 'composer', {}, make('div', 'row', {}, this.nick_, this.hint_),
      make('div', 'box', {}, this.input_, make('button', 'send', { ariaLabel: words.say_('send') }, '↑')), this.error_);
    this.fields_ = slot('composer', this.composer_);
    this.log_ = make('div', 'log', { tabIndex: 0, role: 'group', ariaLabel: title, ariaLive: 'off' });
    this.empty_ = make('div', 'empty', {}, slot('empty', words.say_('empty')));
    this.toggle_ = make('summary', 'toggle', {}, title, this.badge_);
    this.panel_ = make('section', 'panel', { ariaLabel: title, dir: words.code_ == 'ar' && !host.closest('[dir]') ? 'rtl' : '' },
      make('div', 'header', {}, make('div', 'title', {}, slot('header', title)), this.status_, this.people_),
      make('div', 'body', {}, this.log_, this.news_, this.empty_, this.jump_),
      this.fields_, this.closed_);
    this.whole_ = make('details', '', { open: !this.bubble_ || !!keep(this.open_, null, 'sessionStorage') }, this.toggle_, this.panel_);
    this.toggle_.onclick = () => { this.moved_ = true; };
    this.panel_.onkeydown = (/** @type {KeyboardEvent} */ event) => this.escape_(event);
  }

  /** Fills the root. @param {ShadowRoot} root */
  show_(root) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(LOOK);
    root.adoptedStyleSheets = [sheet];
    root.replaceChildren(this.whole_);
  }

  /** The bubble was opened or closed. */
  toggled_() {
    const { open } = this.whole_;
    if (!this.bubble_) return;
    keep(this.open_, open ? '1' : '', 'sessionStorage');
    if (this.moved_) (open ? this.input_ : this.toggle_).focus();
  }

  /** @param {KeyboardEvent} event */
  escape_(event) {
    if (event.key != 'Escape' || event.isComposing) return;
    this.people_.open = false;
    this.moved_ = true;
    if (this.bubble_) this.whole_.open = false;
  }

  /** Reads a text aloud. @param {string} text */
  announce_(text) {
    this.news_.append(make('p', '', {}, text));
    if (this.news_.childElementCount > 9) this.news_.firstChild.remove();
  }
}
