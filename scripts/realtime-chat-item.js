// One entry of a chat's log, and the element that shows it.

import { cleanName, readMessage, splitLinks } from './realtime-chat-text.js';
import { make } from './realtime-chat-view.js';

/** @typedef {import('./realtime-chat-words.js').Words} Words */

const GROUP = 300_000; // ms within which messages by one author form a group
const LONG = 2_000; // characters from which a text is folded

export class Item {
  text_ = '';
  name_ = '';
  at_ = new Date();
  own_ = false;
  /** @type {string | undefined} Its id; undefined until the server has it. */
  id_;
  /** @type {string | undefined} The key and the data of a message that is not sent yet. */
  key_;
  /** @type {any} */
  data_;
  /** @type {string | undefined} The author's id. */
  from_;
  /** Whether the server knows who the author is. */
  sure_ = false;
  /** Empty, pending or failed. */
  state_ = '';
  /** Whether messages are missing before it. */
  gap_ = false;
  /** @type {any} What shows it, while it is near what the reader sees. */
  node_;

  /** Takes the content of a message. @param {any} message @param {boolean} own */
  fill_(message, own) {
    const { id, at } = message;
    return Object.assign(this, readMessage(message), { id_: id, at_: new Date(at), state_: '', own_: own });
  }

  /** Whether it has the same author as another item. @param {Item} other */
  sameAuthor_(other) {
    if (this.own_ || other.own_) return this.own_ && other.own_;
    return other.from_ === this.from_ && other.name_ == this.name_ && other.sure_ == this.sure_;
  }

  /**
   * Makes the element that shows it.
   * @param {Words} words
   * @param {Record<string, (item: Item) => void>} acts the actions of the buttons below a message that could not be sent
   */
  make_(words, acts) {
    const { text_: text, name_: name, sure_: sure } = this;
    const linked = () => splitLinks(text).map((part, i) => i % 2 ? make('a', 'link', { href: part, target: '_blank', rel: 'noopener noreferrer nofollow ugc' }, part) : part);
    const long = text.length > LONG;
    const body = make(long ? 'details' : 'div', 'text', { dir: 'auto' }, ...(long ? [make('summary', 'more', {}, cleanName(text) + '…')] : linked()));
    if (long) body.addEventListener('toggle', () => body.append(...linked()), { once: true }); // what nobody looks at is not built
    const author = make('bdi', sure ? 'author verified' : 'author', sure ? { title: this.from_ } : {}, name || words.say_('guest'));
    author.style.setProperty('--_h', [...name].reduce((sum, char) => sum + /** @type {number} */ (char.codePointAt(0)) ** 2, 0));
    const node = make('div', '', {}, make('div', 'head', {}, author, make('bdi', 'time', {}, words.time_(this.at_))), body);
    const act = (/** @type {string} */ key) => make('button', key, { onclick: () => acts[key](this) }, words.say_(key));
    if (this.own_) node.append(make('div', 'trouble', {}, act('retry'), act('discard')));
    return node;
  }

  /**
   * Gives its element the look that depends on its state and on the item above.
   * @param {Item | undefined} above
   * @param {boolean} first whether it is the first one that the reader has not seen
   * @param {Words} words
   */
  mould_(above, first, words) {
    const { node_: node, at_: at } = this;
    const mark = [
      this.gap_ && words.say_('gap'),
      (above?.at_ ?? new Date()).toDateString() != at.toDateString() && words.day_(at),
      first && words.say_('new'),
    ].filter((it) => it).join(' · ');
    const follows = !mark && above && this.sameAuthor_(above) && +at - +above.at_ < GROUP;
    node.dataset.mark = mark;
    node.dataset.id = this.id_ ?? '';
    node.part = node.className = `message ${this.own_ ? 'own ' : ''}${follows ? 'follow ' : ''}${this.state_}`;
  }
}
