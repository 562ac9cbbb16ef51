// The class of <realtime-chat>. Importing it defines nothing: RealtimeChat.define does.

import { Realtime } from './realtime.js';
import { LOOK } from './realtime-chat-style.js';
import { KEYS, TEXTS, cleanName, readMessage, roomOf, splitLinks } from './realtime-chat-text.js';

/**
 * One entry of the log. Names that end in an underscore are shortened in a release.
 * @typedef {object} Item
 * @property {string} text_
 * @property {string} name_
 * @property {Date} at_
 * @property {boolean} [own_]
 * @property {string} [id_] none until the server has it
 * @property {string} [key_]
 * @property {any} [data_]
 * @property {string} [from_] the author's id
 * @property {string} [state_] pending or failed
 * @property {boolean} [gap_] messages are missing before it
 * @property {any} [node_] what shows it, while it is near what the reader sees
 */

const SHOWN = 100; // messages that are elements at one time
const STEP = 40; // messages that come and go at once when the reader scrolls
const KEPT = 10_000; // messages in memory
const NEAR = 300; // px from either end of the log at which more is shown
const GROUP = 300_000; // ms within which messages of one author stand together
const LONG = 2_000; // characters from which a text is folded

const TIMES = new Intl.DateTimeFormat([], { timeStyle: 'short' }); // toLocaleTimeString makes one at each call

/**
 * Reads, or with a value writes, what the browser keeps for us where it lets us.
 * @param {string} key
 * @param {string | number | null} [value]
 * @param {'localStorage' | 'sessionStorage'} [storage]
 */
const keep = (key, value, storage = 'localStorage') => {
  try {
    const all = window[storage];
    key = 'realtime:' + key;
    return value == null ? all[key] : (all[key] = value);
  } catch { /* blocked or full: the chat works without */ }
};

/**
 * Makes an element that is a part.
 * @param {string} tag
 * @param {string} part
 * @param {Record<string, any>} [props]
 * @param {...(Node | string)} children what is in it
 * @returns {any}
 */
const make = (tag, part, props, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.part = node.className = part;
  node.append(...children);
  return node;
};

/**
 * One life of a chat: fills its root and connects. It ends with the connection.
 * @param {any} host the element
 * @param {ShadowRoot} root
 */
const live = (host, root) => {
  const { room, transport } = host;
  const bubble = host.form == 'bubble';
  const lang = host.closest('[lang]')?.lang || navigator.language;
  const code = TEXTS[lang.slice(0, 2)] ? lang.slice(0, 2) : 'en';
  const t = (/** @type {string} */ key, /** @type {any} */ value = '') => (host.getAttribute('text-' + key) ?? TEXTS[code].split('|')[KEYS.indexOf(key)]).replace('#', () => value);

  /** @type {Item[]} The log, and at its end what the server has not brought back yet. */
  const items = [];
  /** @type {Map<string, Item>} That, by key. */
  const outgoing = new Map();
  /** @type {Item[]} What is shown: SHOWN items from `from` on. */
  let shown = [];
  let from = 0, frame;
  let atEnd = true, reached, top = 0; // whether the reader is at the end, and what is shown is
  let older; // whether the server may be asked for older messages
  let settled, settling; // whether the history is in
  let gap, typed = 0, hinting;
  let read = keep('read ' + room) ?? Date.now(); // the time of the last message that the reader saw
  let unread = 0, mark; // how many came since, and the first one
  let mine = keep('mine') ?? ''; // ids of messages that this browser wrote, each and a space

  const realtime = new Realtime(host.src, transport ? { transports: [transport] } : {});
  const fire = (type, detail) => host.dispatchEvent(new CustomEvent('realtime-' + type, { detail, bubbles: true, composed: true }));
  const fail = (it) => {
    const item = outgoing.get(it.key);
    if (item) item.state_ = 'failed';
    error.textContent = it.message ?? it.title;
    fire('error', it);
    later();
  };
  const me = () => {
    const name = host.name || cleanName(nick.value);
    return name ? { name } : {};
  };

  // ---- Messages

  const looking = () => atEnd && whole.open && !document.hidden;
  const later = () => frame ||= requestAnimationFrame(draw);

  /** @type {(item: any, message: any) => Item} */
  const fill = (item, message) => Object.assign(item, readMessage(message), {
    id_: message.id, at_: new Date(message.at), from_: message.from?.id, state_: '',
    own_: mine.includes(message.id + ' ') || message.from?.id == (realtime.user?.id ?? 0),
  });

  /** Puts an own message at the end of the log, until the server brings it back. */
  const put = (data, key, at = Date.now()) => {
    const item = Object.assign(fill({}, { data, at }), { key_: key, data_: data, own_: true, state_: 'pending' });
    outgoing.set(key, item);
    items.push(item);
    later();
  };

  const publish = (data, key) => {
    const promise = realtime.publish(room, data, { key });
    error.textContent = '';
    promise.catch(fail);
    return promise.key;
  };

  const take = (message) => {
    if (settled) fire('message', message);
    if (message.event) return;
    const item = outgoing.get(message.key) ?? /** @type {any} */ ({});
    if (outgoing.delete(message.key)) {
      items.splice(items.indexOf(item), 1);
      mine = ((keep('mine') ?? mine) + message.id + ' ').slice(-9_999); // other tabs have written, too
      keep('mine', mine);
    } else hint.textContent = '';
    fill(item, message).gap_ = gap;
    gap = false;
    items.splice(items.length - outgoing.size, 0, item);
    if (items.length > KEPT) {
      older = items.shift();
      from &&= from - 1;
    }
    if (!item.own_ && item.at_ > read && !(settled && looking()) && !unread++) mark = item;
    if (settled || items.length < SHOWN) later();
  };

  /** Calls the log live once what is old is in: only from then on it is read aloud. */
  const settle = () => {
    log.role = 'group';
    clearTimeout(settling);
    const before = items.length;
    settling = setTimeout(() => {
      if (items.length > before + STEP) return settle();
      older ??= items.length - outgoing.size >= host.history;
      settled = true;
      log.role = 'log';
      draw();
    }, 300);
  };

  /** @type {(item: Item) => HTMLElement} */
  const makeItem = (item) => {
    const { text_: text, name_: name } = item;
    const act = (key, then) => make('button', key, { onclick: () => { then(); input.focus(); } }, t(key));
    const long = text.length > LONG;
    const body = make(long ? 'details' : 'div', 'text', { dir: 'auto' }, long ? make('summary', 'more', {}, cleanName(text) + '…') : '',
      ...splitLinks(text).map((part, i) => i % 2 ? make('a', 'link', { href: part, target: '_blank', rel: 'noopener noreferrer nofollow ugc' }, part) : part));
    const author = make('bdi', 'author', {}, name || t('guest'));
    author.style.setProperty('--_h', [...name].reduce((sum, char) => sum + char.codePointAt(0) ** 2, 0));
    const node = make('div', '', {}, make('div', 'head', {}, author, make('bdi', 'time', {}, TIMES.format(item.at_))), body);
    if (item.own_) node.append(make('div', 'trouble', {}, act('retry', () => {
      publish(item.data_, item.key_);
      item.state_ = 'pending';
      later();
    }), act('discard', () => {
      realtime.discard(item.key_);
      outgoing.delete(item.key_);
      items.splice(items.indexOf(item), 1);
      error.textContent = '';
      later();
    })));
    return node;
  };

  /** Gives an item the look that depends on what became of it and on the item above. */
  const mould = (item, above) => {
    const who = (it) => it.own_ || it.from_ + it.name_;
    const words = [
      item.gap_ && t('gap'),
      (above?.at_ ?? new Date()).toDateString() != item.at_.toDateString()
        && item.at_.toLocaleDateString([], { dateStyle: 'full' }),
      item == mark && t('new'),
    ].filter((it) => it).join(' · ');
    const node = (item.node_ ??= makeItem(item));
    node.dataset.mark = words;
    node.dataset.id = item.id_ ?? '';
    node.part = node.className = `message ${item.own_ ? 'own ' : ''}${!words && above && who(above) == who(item) && item.at_ - above.at_ < GROUP ? 'follow ' : ''}${item.state_}`;
    return node;
  };

  /** Brings the elements up to date, and keeps what the reader sees where it is, or the reader at the end. */
  const draw = () => {
    frame = 0;
    const last = Math.max(0, items.length - SHOWN);
    if (atEnd || from > last) from = last;
    reached = from == last;
    const next = items.slice(from, from + SHOWN);
    const anchor = shown.filter((item) => next.includes(item) || (item.node_ = item.node_.remove()))[0]?.node_;
    const top = anchor?.offsetTop;
    let place = log.firstChild;
    next.forEach((item, i) => {
      const node = mould(item, items[from + i - 1]);
      if (node == place) place = place.nextSibling;
      else log.insertBefore(node, place);
    });
    shown = next;
    if (atEnd) log.scrollTop = log.scrollHeight;
    else if (anchor) log.scrollTop += anchor.offsetTop - top;
    if (settled && looking() && items[0]) {
      unread = 0;
      keep('read ' + room, read = +items[items.length - 1].at_);
    }
    empty.hidden = !settled || items[0];
    jump.hidden = atEnd;
    jump.textContent = unread ? `↓ ${t('new')} ${unread}` : '↓';
    badge.textContent = unread || '';
  };

  const scrolled = async () => {
    const below = log.scrollHeight - log.scrollTop - log.clientHeight;
    // Who leaves the end by keyboard does so smoothly, and must not be held near it.
    atEnd = reached && below < (log.scrollTop < top ? 2 : 40);
    top = log.scrollTop;
    if (below < NEAR && !reached) from += STEP;
    else if (log.scrollTop < NEAR && (from || older)) {
      settle();
      if (from) from = Math.max(0, from - STEP);
      else try {
        older = false;
        const page = await subscription.history({ before: items[0]?.id_, limit: 50 });
        items.unshift(...page.messages.filter((it) => !it.event).map((it) => fill({}, it)));
        older = page.more;
      } catch {
        older = true; // the next scroll tries again
      }
    }
    later();
  };

  const toEnd = () => {
    atEnd = true;
    draw();
  };

  // ---- Elements

  const field = (tag, key, props) => make(tag, key, { placeholder: t(key), ariaLabel: t(key), dir: 'auto', ...props });
  const slot = (name, content) => make('slot', '', { name }, content);
  const nick = field('input', 'name', { maxLength: 40, value: keep('name') ?? '' });
  const hint = make('span', 'typing');
  const input = field('textarea', 'input', { rows: 1, enterKeyHint: 'send', value: keep('text ' + room, null, 'sessionStorage') ?? '' });
  const error = make('p', 'error', { role: 'alert' });
  const composer = make('form', 'composer', {}, make('div', 'row', {}, nick, hint),
    make('div', 'box', {}, input, make('button', 'send', { ariaLabel: t('send') }, '↑')), error);
  const count = make('summary', '');
  const list = make('ul', 'list');
  const people = make('details', 'people', { hidden: true }, count, list);
  const log = make('div', 'log', { tabIndex: 0, role: 'group', ariaLabel: t('title'), onscroll: scrolled });
  const empty = make('div', 'empty', {}, slot('empty', t('empty')));
  const jump = make('button', 'jump', { onclick: () => { toEnd(); input.focus(); } });
  const status = make('p', 'status', { role: 'status' });
  const badge = make('span', 'badge');
  const toggle = make('summary', 'toggle', {}, t('title'), badge);
  const panel = make('section', 'panel', { ariaLabel: t('title'), dir: code == 'ar' && !host.closest('[dir]') ? 'rtl' : '' },
    make('div', 'header', {}, make('div', 'title', {}, slot('header', t('title'))), status, people),
    make('div', 'body', {}, log, empty, jump),
    slot('composer', composer));
  const whole = make('details', '', { open: !bubble, ontoggle: () => { draw(); if (bubble) (whole.open ? input : toggle).focus(); } }, toggle, panel);
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(LOOK);
  root.adoptedStyleSheets = [sheet];
  root.replaceChildren(whole);

  input.onkeydown = (event) => {
    if (event.key != 'Enter' || event.shiftKey || event.isComposing || event.keyCode == 229) return; // 229: Safari's last composing key
    event.preventDefault();
    composer.requestSubmit();
  };
  nick.onchange = () => {
    keep('name', nick.value = cleanName(nick.value));
    subscription.setState(me());
  };
  input.oninput = () => {
    keep('text ' + room, input.value, 'sessionStorage');
    input.style.height = 'auto';
    input.style.height = input.scrollHeight + 'px';
    if (input.value && Date.now() - typed > 3_000) {
      typed = Date.now();
      subscription.signal('typing', me());
    }
  };
  composer.onsubmit = (event) => {
    event.preventDefault();
    host.send(input.value);
    input.value = '';
    typed = 0; // the message has taken the hint away elsewhere
    input.oninput();
    input.focus();
  };
  panel.onkeydown = (event) => {
    if (event.key != 'Escape' || event.isComposing) return;
    people.open = false;
    if (bubble) whole.open = false;
  };
  new ResizeObserver(() => { if (atEnd) log.scrollTop = log.scrollHeight; }).observe(log);

  // ---- Connection

  const nameOf = (name) => cleanName(name) || t('guest');
  const meet = () => {
    const { members, here } = realtime.presence(room);
    people.hidden = !members;
    count.textContent = t('here', members);
    list.replaceChildren(...[...here.values()].map((it) => make('li', '', { dir: 'auto' }, nameOf(it.name ?? it.state?.name))));
  };
  const tell = () => setTimeout(() => {
    status.textContent = /ing/.test(realtime.state) ? t('connecting') : ''; // connecting, waiting
  }, 800);
  for (const { key, data, at } of realtime.pending(room)) put(data, key, at);
  realtime.addEventListener('error', (/** @type {any} */ { detail }) => fail(detail));
  realtime.addEventListener('statechange', (/** @type {any} */ { detail }) => {
    fire('status', detail);
    tell();
  });
  const subscription = realtime.subscribe(room, { last: host.history, state: me() });
  /** @type {Record<string, (detail: any) => void>} */
  const listeners = {
    message: take,
    presence: meet,
    gap: () => { gap = true; },
    left: fail,
    error: fail,
    join: ({ can }) => {
      composer.hidden = can && !can.includes('publish');
      nick.hidden = host.name || realtime.user?.name;
      settle();
    },
    signal: ({ event, data, from }) => {
      if (event != 'typing') return;
      hint.textContent = t('typing', `\u2068${nameOf(from?.name ?? data?.name)}\u2069`);
      clearTimeout(hinting);
      hinting = setTimeout(() => { hint.textContent = ''; }, 5_000);
    },
  };
  for (const type in listeners) subscription.addEventListener(type, (/** @type {any} */ { detail }) => listeners[type](detail));
  tell();

  host.realtime = realtime;
  host.send_ = (text) => {
    const data = { text, ...me() };
    mark = undefined;
    put(data, publish(data));
    toEnd();
  };
};

/** @type {Record<string, (value: any) => any>} What each attribute means, that is, the property of the same name. */
const ATTRIBUTES = {
  src: (value) => value ?? new URL('../', import.meta.url).href,
  room: (value) => value || roomOf(location.pathname),
  name: cleanName,
  transport: (value) => ['websocket', 'sse', 'poll'].find((it) => it == value) ?? '',
  history: (value) => (value >= 0 && value ? Math.min(value, 1_000) : 50),
  form: (value) => value ?? '',
};

/**
 * A chat in one room. Attributes, and properties of the same names: `src` is the hub's URL, `room` the room (default: made of the
 * page's path), `name` the writer's name where the page knows it (nobody is asked then), `transport` one of websocket, sse and poll
 * (default: what works), `history` the number of messages to begin with (50), `form` either bubble or full (default: a box). The
 * nearest `lang` chooses the language; attributes like `text-send` replace single texts when the element starts.
 *
 * @slot - What the page shows where there is no script, a log or a form. It is not shown otherwise.
 * @slot header - Instead of the title.
 * @slot empty - Instead of what an empty room says.
 * @slot composer - Instead of the fields; it writes by `send(text)`.
 * @csspart panel - The box around all but the bubble's button.
 * @csspart header - The line above the log.
 * @csspart title - The title in it.
 * @csspart status - Says so while there is no connection.
 * @csspart people - How many are here, and who, when opened.
 * @csspart list - Who is here.
 * @csspart body - The room for the log.
 * @csspart log - The log, which scrolls.
 * @csspart empty - What an empty room says.
 * @csspart message - One message; also `own`, `follow` (below another one of its author), `pending`, `failed`.
 * @csspart head - The author and the time.
 * @csspart author - The author's name.
 * @csspart time - The time.
 * @csspart text - The text.
 * @csspart link - An address in a text.
 * @csspart more - Opens a text of more than 2,000 characters.
 * @csspart trouble - Below a message that could not be sent, with `retry` and `discard`.
 * @csspart jump - The button that leads to the end of the log.
 * @csspart composer - The form.
 * @csspart row - The line above the field.
 * @csspart name - The field for the writer's name.
 * @csspart typing - Who is typing.
 * @csspart box - The frame around field and button.
 * @csspart input - The field for a message.
 * @csspart send - The button that sends.
 * @csspart error - What the server refused, and why.
 * @csspart toggle - The bubble's button.
 * @csspart badge - The number of unread messages in it.
 * @cssprop --realtime-accent - Own messages and buttons.
 * @cssprop --realtime-accent-text - Text on the accent (white).
 * @cssprop --realtime-background - The background. It and the text are mixed for all other colours.
 * @cssprop --realtime-text - The text.
 * @cssprop --realtime-radius - The corners (1.1rem).
 * @cssprop --realtime-height - The height (32rem).
 * @cssprop --realtime-font - The font family (system-ui).
 * @fires {CustomEvent<object>} realtime-message - A message came; `detail` is its envelope. Not for the history.
 * @fires {CustomEvent<{state: string, transport: string, retryAt: number}>} realtime-status - The connection's state changed.
 * @fires {CustomEvent<Error>} realtime-error - Something was refused; `detail` is a RealtimeError.
 */
export class RealtimeChat extends HTMLElement {
  static observedAttributes = [...Object.keys(ATTRIBUTES), 'lang'];

  /**
   * Makes the class an element, unless the tag is taken.
   * @param {string} tag
   * @param {CustomElementRegistry} registry
   */
  static define(tag = 'realtime-chat', registry = customElements) {
    registry.get(tag) ?? registry.define(tag, this);
  }

  static {
    for (const name in ATTRIBUTES) Object.defineProperty(this.prototype, name, {
      get() { return ATTRIBUTES[name](this.getAttribute(name)); },
      set(value) { this.setAttribute(name, value); },
    });
  }

  /** @type {Realtime | undefined} The connection; a closed one once the element has left its document. */
  realtime;
  /** @type {((text: string) => void) | undefined} */
  send_;
  #made; // what the present life is made of

  /**
   * Publishes a text as the element's own field does.
   * @param {string} text
   */
  send(text) {
    if (text.trim()) this.send_?.(text.trim());
  }

  connectedCallback() { this.#update(); }
  disconnectedCallback() { this.#update(); }
  attributeChangedCallback() { this.#update(); }

  /** Begins, ends or renews the life, after all that one task changes: an element that is only moved stays connected. */
  #update() {
    queueMicrotask(() => {
      const made = this.isConnected && RealtimeChat.observedAttributes.map((name) => this.getAttribute(name)).join();
      if (made == this.#made) return;
      this.#made = made;
      this.realtime?.close();
      if (made) live(this, this.shadowRoot ?? this.attachShadow({ mode: 'open' }));
    });
  }
}
