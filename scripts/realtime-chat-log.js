// The log of one <realtime-chat>: its messages. Those near what the reader sees are elements.

import { Item } from './realtime-chat-item.js';
import { entitle, keep } from './realtime-chat-shared.js';

/** @typedef {import('./realtime-chat-live.js').Chat} Chat */

export const SHOWN = 100; // messages that are elements at one time
export const REFUSED = [401, 403, 404]; // statuses that trying again does not change
export const STEP = 40; // messages that come and go at once when the reader scrolls
const KEPT = 10_000; // messages in memory
const NEAR = 300; // px from either end of the log at which more is shown
const AT_END = 40; // px from the end at which the reader still is there
const LEAVING = 2; // px for a reader who scrolls up: the keyboard scrolls smoothly, and must not be held at the end
const BUDGET = 8; // ms of a frame in which elements are made
const PAGES = 5; // pages of old messages to search for a message to show

export class Log {
  /** @type {Item[]} The messages; at the end, own messages that the server has not returned yet. */
  items_ = [];
  /** @type {Map<string | undefined, Item>} Those own messages, by key. */
  outgoing_ = new Map();
  /** @type {Item[]} The items that are shown: SHOWN of them, from `from_` on. */
  shown_ = [];
  from_ = 0;
  frame_ = 0;
  /** Whether the reader is at the end, and whether the items that are shown reach it. */
  atEnd_ = true;
  reached_ = false;
  top_ = 0;
  /** @type {any} Whether the server may be asked for older messages. */
  older_;
  /** @type {string | undefined} The id of the oldest message, shown or not. */
  oldest_;
  /** How many came since the reader looked, how many of them the page's title counts, and the first one. */
  unread_ = 0;
  titled_ = 0;
  /** @type {Item | undefined} */
  mark_;

  /** @param {Chat} chat */
  constructor(chat) {
    const { room_: room } = chat;
    this.chat_ = chat;
    /** @type {any} The time of the last message that the reader saw. */
    this.read_ = keep('read ' + room) ?? keep('read ' + room, Date.now());
    /** The ids of messages that this browser wrote, each followed by a space. */
    this.mine_ = keep('mine') ?? '';
  }

  /** Whether the reader sees what comes. */
  looking_() {
    return this.atEnd_ && this.chat_.view_.whole_.open && !document.hidden;
  }

  /** Draws in the next frame. */
  later_() {
    this.frame_ ||= requestAnimationFrame(() => this.draw_());
  }

  /** @param {Item} item @param {any} message */
  fill_(item, message) {
    const { id, from } = message;
    return item.fill_(message, this.mine_.includes(id + ' ') || (!!from && from.id === this.chat_.realtime_.user?.id));
  }

  /** Puts an own message at the end, until the server returns it. @param {any} data @param {string} key */
  put_(data, key, at = Date.now()) {
    const item = this.fill_(new Item(), { data, at, from: this.chat_.realtime_.user });
    Object.assign(item, { key_: key, data_: data, own_: true, state_: 'pending' });
    this.outgoing_.set(key, item);
    this.items_.push(item);
    this.later_();
  }

  /** Removes an own message that the server has not returned. @param {Item} item */
  remove_(item) {
    this.outgoing_.delete(item.key_);
    this.items_.splice(this.items_.indexOf(item), 1);
  }

  /** Takes a message that came, and returns its item. @param {any} message @param {boolean} gap whether messages are missing before it */
  add_(message, gap) {
    const { items_: items, outgoing_: outgoing } = this;
    const own = outgoing.get(message.key);
    const item = own ?? new Item();
    if (own) {
      outgoing.delete(message.key);
      items.splice(items.indexOf(own), 1);
      this.mine_ = ((keep('mine') ?? this.mine_) + message.id + ' ').slice(-9_999); // other tabs have written, too
      keep('mine', this.mine_);
    }
    this.fill_(item, message).gap_ = gap;
    items.splice(items.length - outgoing.size, 0, item);
    if (items.length > KEPT) {
      this.older_ = items.shift();
      this.from_ &&= this.from_ - 1;
    }
    return item;
  }

  /** Counts a message unless the reader sees it. @param {Item} item */
  count_(item) {
    if (!item.own_ && +item.at_ > this.read_ && !(this.chat_.settled_ && this.looking_()) && !this.unread_++) this.mark_ = item;
  }

  /** Updates the elements. What the reader sees stays where it is; a reader at the end stays at the end. */
  draw_() {
    const { items_: items } = this;
    const { log_: node } = this.chat_.view_;
    const last = Math.max(0, items.length - SHOWN);
    this.frame_ = 0;
    if (this.atEnd_ || this.from_ > last) this.from_ = last;
    this.reached_ = this.from_ == last;
    const next = this.next_();
    if (next.length < Math.min(SHOWN, items.length - this.from_)) this.later_();
    const anchor = this.shown_.filter((item) => next.includes(item) || (item.node_ = item.node_.remove()))[0]?.node_;
    const top = anchor?.offsetTop;
    this.place_(next);
    this.shown_ = next;
    if (this.atEnd_) node.scrollTop = node.scrollHeight;
    else if (anchor) node.scrollTop += anchor.offsetTop - top;
    this.tell_();
  }

  /** The items to show. No message may block the page: elements that can't be made in this frame come in the next, the newest first. */
  next_() {
    const until = performance.now() + BUDGET;
    const { words_: words, acts_: acts } = this.chat_;
    return this.items_
      .slice(this.from_, this.from_ + SHOWN)
      .reverse()
      .filter((item) => item.node_ || (performance.now() < until && (item.node_ = item.make_(words, acts))))
      .reverse();
  }

  /** Puts the elements of items in their places. @param {Item[]} items */
  place_(items) {
    const { log_: node } = this.chat_.view_;
    let place = node.firstChild;
    for (const item of items) {
      item.mould_(this.items_[this.items_.indexOf(item, this.from_) - 1], item == this.mark_, this.chat_.words_);
      if (item.node_ == place) place = place.nextSibling;
      else node.insertBefore(item.node_, place);
    }
  }

  /** Shows the number of unread messages around the log. */
  tell_() {
    const { view_: view, words_: words, settled_: settled, room_: room } = this.chat_;
    const { items_: items } = this;
    if (settled && this.looking_() && items[0]) {
      this.unread_ = 0;
      this.read_ = +items[items.length - 1].at_;
      keep('read ' + room, this.read_);
    }
    const { unread_: unread } = this;
    view.empty_.hidden = !settled || items[0];
    view.jump_.hidden = this.atEnd_;
    view.jump_.textContent = unread ? `↓ ${words.say_('new')} ${unread}` : '↓';
    view.badge_.textContent = unread || '';
    entitle(unread - this.titled_);
    this.titled_ = unread;
  }

  /** Shows more where the reader has scrolled to. */
  async scrolled_() {
    const { log_: node } = this.chat_.view_;
    const below = node.scrollHeight - node.scrollTop - node.clientHeight;
    this.atEnd_ = this.reached_ && below < (node.scrollTop < this.top_ ? LEAVING : AT_END);
    this.top_ = node.scrollTop;
    if (below < NEAR && !this.reached_) this.from_ += STEP;
    else if (node.scrollTop < NEAR && this.from_) this.from_ = Math.max(0, this.from_ - STEP);
    else if (node.scrollTop < NEAR && this.older_) await this.load_();
    this.later_();
  }

  /** Asks the server for older messages. */
  async load_() {
    const { subscription_: subscription, life_: life } = this.chat_;
    this.older_ = false;
    try {
      // A page may have only messages with events.
      for (let i = 0, page, found = []; !found[0] && i < PAGES && (page?.more ?? true); i++) {
        page = await subscription.history({ before: this.oldest_, limit: 50, signal: life.signal });
        this.oldest_ = page.messages[0]?.id ?? this.oldest_;
        found = page.messages.filter((it) => !it.event).map((it) => this.fill_(new Item(), it));
        this.items_.unshift(...found);
        this.older_ = page.more;
      }
    } catch (error) {
      this.older_ = !REFUSED.includes(error.status); // the next scroll tries again
    }
  }

  toEnd_() {
    this.atEnd_ = true;
    this.draw_();
  }
}
