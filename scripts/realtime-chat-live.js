// One life of a <realtime-chat>, from when it is in its document until it leaves it, or an attribute changes.

import { Composer } from './realtime-chat-composer.js';
import { Log, REFUSED, SHOWN, STEP } from './realtime-chat-log.js';
import { connect, disconnect, entitle } from './realtime-chat-shared.js';
import { cleanName } from './realtime-chat-text.js';
import { View, make } from './realtime-chat-view.js';
import { Words } from './realtime-chat-words.js';

const QUIET = 300; // ms without a message after which the history is in
const PATIENCE = 800; // ms after which a missing connection is shown
const HINT = 5_000; // ms for which it is shown that somebody is typing
const TOO_LARGE = 413;

export class Chat {
  life_ = new AbortController();
  /** Whether the history is in. */
  settled_ = false;
  /** @type {any} The timer that says so. */
  settling_;
  /** How many messages came before the history was in. */
  before_ = 0;
  /** Whether missed messages are coming in, and how many there were. */
  quiet_ = false;
  missed_ = 0;
  /** Whether messages are missing before the next one. */
  gap_ = false;
  /** @type {any} The timer that ends the hint that somebody is typing. */
  hinting_;
  /** @type {any} Why the room may not be read. */
  refusal_;

  /**
   * Fills the element's root and connects.
   * @param {any} host the element
   * @param {ShadowRoot} root
   */
  constructor(host, root) {
    this.host_ = host;
    this.room_ = host.room;
    this.words_ = new Words(host);
    this.realtime_ = connect(host);
    this.view_ = new View(host, this.words_);
    this.log_ = new Log(this);
    this.composer_ = new Composer(this);
    this.acts_ = this.makeActs_();
    this.listen_();
    this.view_.show_(root);
    this.observer_ = new ResizeObserver(() => {
      const { log_: log } = this.view_;
      if (this.log_.atEnd_) log.scrollTop = log.scrollHeight;
    });
    this.observer_.observe(this.view_.log_);
    for (const { key, data, at } of this.realtime_.pending(this.room_)) this.log_.put_(data, key, at);
    this.hear_();
    this.subscription_ = this.realtime_.subscribe(this.room_, { last: host.history, state: this.me_() });
    this.hearRoom_();
    this.gate_();
    this.report_();
    host.realtime = this.realtime_;
  }

  /** Ends it. */
  end_() {
    this.life_.abort();
    this.observer_.disconnect();
    clearTimeout(this.settling_);
    this.composer_.end_();
    cancelAnimationFrame(this.log_.frame_);
    this.subscription_.close();
    entitle(-this.log_.titled_);
    disconnect(this.realtime_, this.room_);
  }

  /** The actions of the buttons below a message that could not be sent. @returns {Record<string, (item: import('./realtime-chat-item.js').Item) => void>} */
  makeActs_() {
    const { log_: log, view_: view } = this;
    return {
      retry: (item) => {
        this.publish_(item.data_, item.key_);
        item.state_ = 'pending';
        log.later_();
        view.input_.focus();
      },
      discard: (item) => {
        this.realtime_.discard(item.key_ ?? '');
        log.remove_(item);
        view.error_.textContent = '';
        log.later_();
        view.input_.focus();
      },
    };
  }

  /** Listens to the reader. */
  listen_() {
    const { log_: log, view_: view } = this;
    view.log_.onscroll = () => log.scrolled_();
    view.jump_.onclick = () => {
      log.toEnd_();
      view.input_.focus();
    };
    view.whole_.ontoggle = () => {
      log.draw_();
      view.toggled_();
    };
  }

  /** Listens to the connection. */
  hear_() {
    const { realtime_: realtime, life_: life } = this;
    realtime.addEventListener('error', ({ detail }) => {
      if (detail.room == this.room_) this.fail_(detail);
    }, life);
    realtime.addEventListener('statechange', ({ detail }) => {
      this.fire_('status', detail);
      this.gate_();
      this.meet_();
      this.report_();
    }, life);
  }

  /** Listens to the room. */
  hearRoom_() {
    /** @type {Record<string, (detail: any) => void>} */
    const listeners = {
      message: (message) => this.take_(message),
      presence: () => this.meet_(),
      gap: () => { this.gap_ = true; },
      left: (refusal) => this.fail_(refusal, true),
      error: (error) => this.fail_(error, true),
      join: () => this.joined_(),
      can: () => this.gate_(),
      signal: (signal) => this.hint_(signal),
    };
    for (const type in listeners) this.subscription_.addEventListener(/** @type {any} */ (type), ({ detail }) => listeners[type](detail));
  }

  /** @param {string} type @param {any} detail */
  fire_(type, detail) {
    this.host_.dispatchEvent(new CustomEvent('realtime-' + type, { detail, bubbles: true, composed: true }));
  }

  /** The writer's own name, as it is put into messages. */
  me_() {
    const name = this.host_.name || cleanName(this.view_.nick_.value);
    return name ? { name } : {};
  }

  /** Publishes a text as the element's own field does. @param {string} text */
  send_(text) {
    const data = { text, ...this.me_() };
    this.log_.mark_ = undefined;
    this.log_.put_(data, this.publish_(data));
    this.log_.toEnd_();
  }

  /** The page knows another name. */
  rename_() {
    this.hideName_();
    this.introduce_();
  }

  /** Shows the writer's name to the others, unless that is known to be refused. */
  introduce_() {
    const { can } = this.subscription_;
    if (!can || can.includes('presence') || can.includes('show')) this.subscription_.setState(this.me_());
  }

  hideName_() {
    this.view_.nick_.hidden = !!this.host_.name || !!this.realtime_.user?.name;
  }

  /** @param {any} data @param {string} [key] */
  publish_(data, key) {
    this.view_.error_.textContent = '';
    return this.realtime_.publish(this.room_, data, { key }).key; // the result is an event
  }

  /** Something was refused. @param {any} refusal @param {boolean} [all] whether it was the room */
  fail_(refusal, all) {
    const { status, key } = refusal;
    if (all && REFUSED.includes(status)) {
      this.refusal_ = refusal;
      this.gate_();
      this.meet_();
    }
    this.view_.error_.textContent = this.words_.say_(status == TOO_LARGE ? 'large' : REFUSED.includes(status) ? 'refused' : 'failed');
    const item = this.log_.outgoing_.get(key);
    if (item) item.state_ = 'failed';
    this.fire_('error', refusal);
    this.log_.later_();
  }

  /** A message came. @param {any} message */
  take_(message) {
    const { log_: log, view_: view } = this;
    if (this.settled_) this.fire_('message', message);
    else this.before_++;
    log.oldest_ ??= message.id;
    if (message.event) return;
    if (!log.outgoing_.has(message.key)) view.hint_.textContent = '';
    const item = log.add_(message, this.gap_);
    this.gap_ = false;
    if (this.quiet_) this.missed_++;
    else if (this.settled_ && !item.own_) view.announce_(`${item.name_ || this.words_.say_('guest')}${item.sure_ ? ' ✓' : ''}: ${item.text_.slice(0, 300)}`);
    log.count_(item);
    if (this.settled_ || log.items_.length < SHOWN) log.later_();
  }

  /** Shows the fields or, where the reader may not write, why. */
  gate_() {
    const { refusal_: refusal, view_: view, words_: words } = this;
    const { can } = this.subscription_ ?? {};
    const { user } = this.realtime_;
    const known = user && !user.guest;
    let reason = '';
    if (refusal) reason = (refusal.room && refusal.title) || words.say_('refused');
    else if (can && !can.includes('publish')) reason = words.say_(known ? 'read-only' : 'sign-in');
    view.reason_.textContent = reason;
    view.closed_.hidden = !reason;
    view.fields_.hidden = !!reason;
    view.signIn_.hidden = !refusal && !!known;
  }

  /** The room was joined, for the first time or again: the missed messages come next. */
  joined_() {
    this.gate_();
    this.hideName_();
    this.settle_();
  }

  /** Waits until the old messages are in: only later ones are reported and read aloud. */
  settle_() {
    const { log_: log, view_: view, words_: words } = this;
    this.quiet_ = true;
    clearTimeout(this.settling_);
    const had = log.items_.length;
    this.settling_ = setTimeout(() => {
      if (log.items_.length > had + STEP) return this.settle_();
      log.older_ ??= this.before_ >= this.host_.history;
      if (this.settled_ && this.missed_) view.announce_(`${words.say_('new')}: ${this.missed_}`);
      this.settled_ = true;
      this.quiet_ = false;
      this.missed_ = 0;
      view.log_.role = 'log';
      log.draw_();
      if (view.log_.scrollHeight <= view.log_.clientHeight) log.scrolled_(); // too short for the reader to scroll for more
    }, QUIET);
  }

  /** @param {unknown} name */
  nameOf_(name) {
    return cleanName(name) || this.words_.say_('guest');
  }

  /** Shows who is here, while there is a connection. */
  meet_() {
    const { view_: view, realtime_: realtime } = this;
    const { members, here } = realtime.presence(this.room_);
    view.people_.hidden = !members || realtime.state != 'open';
    view.count_.textContent = this.words_.say_('here', members);
    view.list_.replaceChildren(...[...here.values()].map(({ name, state }) => make('li', name ? 'verified' : '', { dir: 'auto' }, this.nameOf_(name ?? state?.name))));
  }

  /** Shows, after a while, that there is no connection. */
  report_() {
    setTimeout(() => {
      const { state } = this.realtime_;
      this.view_.status_.textContent = state == 'connecting' || state == 'waiting' ? this.words_.say_('connecting') : '';
    }, PATIENCE);
  }

  /** Shows that somebody is typing. @param {{event: string, data?: any, from?: any}} signal */
  hint_({ event, data, from }) {
    if (event != 'typing') return;
    const { hint_: node } = this.view_;
    node.textContent = this.words_.say_('typing', `\u2068${this.nameOf_(from?.name ?? data?.name)}\u2069`);
    clearTimeout(this.hinting_);
    this.hinting_ = setTimeout(() => { node.textContent = ''; }, HINT);
  }
}
