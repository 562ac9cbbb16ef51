// One life of a <realtime-chat>: what it shows, and what its connection brings.

import { connect, disconnect, entitle, keep } from './realtime-chat-shared.js';
import { LOOK } from './realtime-chat-style.js';
import { KEYS, TEXTS, cleanName, readMessage, splitLinks } from './realtime-chat-text.js';
import { localeOf } from './realtime-element.js';

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
 * @property {boolean} [sure_] whether the server says who it is
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
const BUDGET = 8; // ms of a frame in which elements are made
const HINTS = 3_000; // ms between two hints that somebody is typing
const PAGES = 5; // pages of old messages to look through for one that is shown

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
 * One life of a chat: fills its root and connects.
 * @param {any} host the element
 * @param {ShadowRoot} root
 * @returns {() => void} ends it
 */
export const live = (host, root) => {
  const { room } = host;
  const bubble = host.form == 'bubble';
  const lang = host.closest('[lang]')?.lang || navigator.language;
  const code = TEXTS[lang.slice(0, 2)] ? lang.slice(0, 2) : 'en';
  const locale = localeOf(lang);
  const times = new Intl.DateTimeFormat(locale, { timeStyle: 'short' }); // toLocaleTimeString makes one at each call
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
  let oldest, before = 0; // the first message of all, shown or not, and how many came before the history was in
  let settled, settling; // whether the history is in
  let quiet, missed = 0; // whether what was missed comes in, and how many that were
  let gap, hinting;
  let typed, more; // hints go out one at a time, whatever is typed meanwhile
  let read = keep('read ' + room) ?? keep('read ' + room, Date.now()); // the time of the last message that the reader saw
  let unread = 0, titled = 0, mark; // how many came since, and the first one
  let mine = keep('mine') ?? ''; // ids of messages that this browser wrote, each and a space

  const realtime = connect(host);
  const life = new AbortController();
  const fire = (type, detail) => host.dispatchEvent(new CustomEvent('realtime-' + type, { detail, bubbles: true, composed: true }));
  const fail = (it) => {
    error.textContent = t(it.status == 413 ? 'large' : /40[13]/.test(it.status) ? 'refused' : 'failed');
    const item = outgoing.get(it.key);
    if (item) item.state_ = 'failed';
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
    id_: message.id, at_: new Date(message.at), state_: '',
    own_: mine.includes(message.id + ' ') || !!message.from && message.from.id === realtime.user?.id,
  });

  /** Puts an own message at the end of the log, until the server brings it back. */
  const put = (data, key, at = Date.now()) => {
    const item = Object.assign(fill({}, { data, at }), { key_: key, data_: data, own_: true, state_: 'pending' });
    outgoing.set(key, item);
    items.push(item);
    later();
  };

  const publish = (data, key) => {
    error.textContent = '';
    return realtime.publish(room, data, { key }).key; // what becomes of it is an event
  };

  const take = (message) => {
    if (settled) fire('message', message);
    else before++;
    oldest ??= message.id;
    if (message.event) return;
    const item = outgoing.get(message.key) ?? /** @type {any} */ ({});
    if (outgoing.delete(message.key)) {
      items.splice(items.indexOf(item), 1);
      mine = ((keep('mine') ?? mine) + message.id + ' ').slice(-9_999); // other tabs have written, too
      keep('mine', mine);
    } else hint.textContent = '';
    fill(item, message).gap_ = gap;
    gap = false;
    if (quiet) missed++;
    else if (settled && !item.own_) {
      news.append(make('p', '', {}, `${item.name_ || t('guest')}: ${item.text_.slice(0, 300)}`));
      if (news.childElementCount > 9) news.firstChild.remove();
    }
    items.splice(items.length - outgoing.size, 0, item);
    if (items.length > KEPT) {
      older = items.shift();
      from &&= from - 1;
    }
    if (!item.own_ && item.at_ > read && !(settled && looking()) && !unread++) mark = item;
    if (settled || items.length < SHOWN) later();
  };

  /** Waits until what is old is in: only what comes after it is told, and read aloud. */
  const settle = () => {
    quiet = true;
    clearTimeout(settling);
    const had = items.length;
    settling = setTimeout(() => {
      if (items.length > had + STEP) return settle();
      older ??= before >= host.history;
      if (settled && missed) news.append(make('p', '', {}, `${t('new')}: ${missed}`));
      settled = true;
      quiet = missed = 0;
      log.role = 'log';
      draw();
      if (log.scrollHeight <= log.clientHeight) scrolled(); // nobody could scroll for more
    }, 300);
  };

  /** @type {(item: Item) => HTMLElement} */
  const makeItem = (item) => {
    const { text_: text, name_: name } = item;
    const act = (key, then) => make('button', key, { onclick: () => { then(); input.focus(); } }, t(key));
    const linked = () => splitLinks(text).map((part, i) => i % 2 ? make('a', 'link', { href: part, target: '_blank', rel: 'noopener noreferrer nofollow ugc' }, part) : part);
    const long = text.length > LONG;
    const body = make(long ? 'details' : 'div', 'text', { dir: 'auto' }, ...(long ? [make('summary', 'more', {}, cleanName(text) + '…')] : linked()));
    if (long) body.addEventListener('toggle', () => body.append(...linked()), { once: true }); // what nobody looks at is not built
    const author = make('bdi', item.sure_ ? 'author verified' : 'author', item.sure_ ? { title: item.from_ } : {}, name || t('guest'));
    author.style.setProperty('--_h', [...name].reduce((sum, char) => sum + char.codePointAt(0) ** 2, 0));
    const node = make('div', '', {}, make('div', 'head', {}, author, make('bdi', 'time', {}, times.format(item.at_))), body);
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
    const same = (it) => it.own_ ? item.own_ : !item.own_ && it.from_ === item.from_ && it.name_ == item.name_ && it.sure_ == item.sure_;
    const words = [
      item.gap_ && t('gap'),
      (above?.at_ ?? new Date()).toDateString() != item.at_.toDateString()
        && item.at_.toLocaleDateString(locale, { dateStyle: 'full' }),
      item == mark && t('new'),
    ].filter((it) => it).join(' · ');
    const node = (item.node_ ??= makeItem(item));
    node.dataset.mark = words;
    node.dataset.id = item.id_ ?? '';
    node.part = node.className = `message ${item.own_ ? 'own ' : ''}${!words && above && same(above) && item.at_ - above.at_ < GROUP ? 'follow ' : ''}${item.state_}`;
    return node;
  };

  /** Brings the elements up to date, and keeps what the reader sees where it is, or the reader at the end. */
  const draw = () => {
    frame = 0;
    const last = Math.max(0, items.length - SHOWN);
    if (atEnd || from > last) from = last;
    reached = from == last;
    // Nobody's message may hold the page up: what does not fit into this frame comes in the next, the newest first.
    const until = performance.now() + BUDGET;
    const next = items.slice(from, from + SHOWN).reverse().filter((item) => item.node_ || performance.now() < until && (item.node_ = makeItem(item))).reverse();
    if (next.length < Math.min(SHOWN, items.length - from)) later();
    const anchor = shown.filter((item) => next.includes(item) || (item.node_ = item.node_.remove()))[0]?.node_;
    const top = anchor?.offsetTop;
    let place = log.firstChild;
    next.forEach((item) => {
      const node = mould(item, items[items.indexOf(item, from) - 1]);
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
    entitle(unread - titled);
    titled = unread;
  };

  const scrolled = async () => {
    const below = log.scrollHeight - log.scrollTop - log.clientHeight;
    // Who leaves the end by keyboard does so smoothly, and must not be held near it.
    atEnd = reached && below < (log.scrollTop < top ? 2 : 40);
    top = log.scrollTop;
    if (below < NEAR && !reached) from += STEP;
    else if (log.scrollTop < NEAR && (from || older)) {
      if (from) from = Math.max(0, from - STEP);
      else try {
        older = false;
        // A page may hold nothing but events.
        for (let i = 0, page, found = []; !found[0] && i < PAGES && (page?.more ?? true); i++) {
          page = await subscription.history({ before: oldest, limit: 50, signal: life.signal });
          oldest = page.messages[0]?.id ?? oldest;
          found = page.messages.filter((it) => !it.event).map((it) => fill({}, it));
          items.unshift(...found);
          older = page.more;
        }
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
  const log = make('div', 'log', { tabIndex: 0, role: 'group', ariaLabel: t('title'), ariaLive: 'off', onscroll: scrolled });
  const news = make('div', 'news', { role: 'log' }); // what is read aloud: nothing old
  const empty = make('div', 'empty', {}, slot('empty', t('empty')));
  const jump = make('button', 'jump', { onclick: () => { toEnd(); input.focus(); } });
  const status = make('p', 'status', { role: 'status' });
  const badge = make('span', 'badge');
  const toggle = make('summary', 'toggle', {}, t('title'), badge);
  const panel = make('section', 'panel', { ariaLabel: t('title'), dir: code == 'ar' && !host.closest('[dir]') ? 'rtl' : '' },
    make('div', 'header', {}, make('div', 'title', {}, slot('header', t('title'))), status, people),
    make('div', 'body', {}, log, news, empty, jump),
    slot('composer', composer));
  let moved; // whether the reader has opened or closed it, and not the page
  const whole = make('details', '', { open: !bubble || !!keep('open ' + room, null, 'sessionStorage'), ontoggle: () => {
    draw();
    if (!bubble) return;
    keep('open ' + room, whole.open ? '1' : '', 'sessionStorage');
    if (moved) (whole.open ? input : toggle).focus();
  } }, toggle, panel);
  toggle.onclick = () => { moved = true; };
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
  input.onfocus = () => { nick.value ||= keep('name') ?? ''; }; // another chat may have asked
  const tellTyping = () => {
    if (!input.value) return;
    subscription.signal('typing', me());
    more = false;
    typed = setTimeout(() => {
      typed = 0;
      if (more) tellTyping();
    }, HINTS);
  };
  input.oninput = () => {
    keep('text ' + room, input.value, 'sessionStorage');
    input.style.height = 'auto';
    input.style.height = input.scrollHeight + 'px';
    more = true;
    if (!typed) tellTyping();
  };
  composer.onsubmit = (event) => {
    event.preventDefault();
    host.send(input.value);
    input.value = '';
    input.oninput();
    input.focus();
  };
  panel.onkeydown = (event) => {
    if (event.key != 'Escape' || event.isComposing) return;
    people.open = false;
    moved = true;
    if (bubble) whole.open = false;
  };
  const observer = new ResizeObserver(() => { if (atEnd) log.scrollTop = log.scrollHeight; });
  observer.observe(log);

  // ---- Connection

  const nameOf = (name) => cleanName(name) || t('guest');
  const meet = () => {
    const { members, here } = realtime.presence(room);
    people.hidden = !members || realtime.state != 'open'; // without a connection nobody knows
    count.textContent = t('here', members);
    list.replaceChildren(...[...here.values()].map((it) => make('li', '', { dir: 'auto' }, nameOf(it.name ?? it.state?.name))));
  };
  const tell = () => setTimeout(() => {
    status.textContent = /ing/.test(realtime.state) ? t('connecting') : ''; // connecting, waiting
  }, 800);
  for (const { key, data, at } of realtime.pending(room)) put(data, key, at);
  realtime.addEventListener('error', (/** @type {any} */ { detail }) => {
    if (detail.room == room) fail(detail);
  }, life);
  realtime.addEventListener('statechange', (/** @type {any} */ { detail }) => {
    fire('status', detail);
    meet();
    tell();
  }, life);
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
      nick.hidden = !!host.name || !!realtime.user?.name;
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
  host.rename_ = () => {
    nick.hidden = !!host.name || !!realtime.user?.name;
    subscription.setState(me());
  };
  return () => {
    life.abort();
    observer.disconnect();
    clearTimeout(settling);
    clearTimeout(typed);
    cancelAnimationFrame(frame);
    subscription.close();
    entitle(-titled);
    disconnect(realtime, room);
  };
};
