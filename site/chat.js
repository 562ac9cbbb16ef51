// A chat in one room. A room is a URL and its messages are a log: every transport reads the same log after the same
// cursor, so this page may change its transport at any moment without losing or repeating a message.

/** @typedef {{id: string, event?: string, data: any, from?: {name?: string}, at: string}} Message
 * @typedef {{key: string, body: string, li: HTMLLIElement, began: number, tries: number, via?: Link, doubt?: boolean,
 *   state: 'queued'|'sent'|'stored'|'failed'}} Outgoing */

const HISTORY = 50; // messages asked for at first
const SHOWN = 500; // list items kept in the page
const PATIENCE = 4_000; // ms until a connection that says nothing counts as failed
const SILENCE = 65_000; // ms without even a heartbeat until a stream counts as dead
const ECHO = 10_000; // ms until an own frame that was not echoed makes a socket suspect
const STABLE = 5_000; // ms after which a connection has proved that its transport works
const GROUP = 5 * 60_000; // ms within which messages of one author stand together
/** Causes after which coming back makes no sense: HTTP statuses and WebSocket close codes. */
const FINAL = { 400: 'No valid name for a room', 401: 'Not signed in', 403: 'Not allowed in here', 1009: 'The message was too large' };
for (const status of [400, 401, 403]) FINAL[4000 + status] = FINAL[status];

const $ = (selector) => /** @type {any} */ (document.querySelector(selector));
const [log, text, nick, pick, status, again, newer] = ['#log', '#text', '#name', '#transport', '#status', '#again', '#newer'].map($);
const asked = (new URLSearchParams(location.search).get('room') ?? '').replace(/^#/, '');
const room = asked.split('/').some((segment) => /^\.{0,2}$/.test(segment)) ? 'lobby' : asked;
const url = `${location.origin}/rt/${room.split('/').map(encodeURIComponent).join('/')}`;

const random = (from, to) => from + Math.random() * (to - from);
const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });

/** Unguessable text. crypto.randomUUID exists on secure origins only, and a demo is often tried on a bare LAN address. */
const unique = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join('');

/** Reads, or with a value writes, what the browser keeps for us where it lets us. */
function keep(storage, key, value) {
  try {
    if (value === undefined) return window[storage].getItem(`realtime:${key}`);
    window[storage].setItem(`realtime:${key}`, value);
  } catch { /* blocked or full: the page works without */ }
  return null;
}

/** What ended a connection or refused a request: an HTTP status or close code, and the ms that the server says to wait. */
class Ended {
  constructor(code, advice) { Object.assign(this, { code, advice }); }
}

/** fetch that no cache answers and that throws {@link Ended} for any status but 2xx. */
async function request(address, options) {
  const response = await fetch(address, { cache: 'no-store', ...options });
  if (response.ok) return response;
  const after = Number(response.headers.get('Retry-After') ?? NaN);
  throw new Ended(response.status, after >= 0 ? after * 1000 : undefined);
}

// ---- Transports: each connects, feeds its link, and returns or throws when the connection ends

/** In the order in which the automatic choice tries them. @type {Record<string, (link: Link) => Promise<void>>} */
const transports = {
  websocket: (link) => new Promise((_, reject) => {
    const socket = new WebSocket(link.address({ envelope: 1 }).replace(/^http/, 'ws'));
    link.signal.addEventListener('abort', () => socket.close());
    socket.onmessage = ({ data }) => { try { link.receive(JSON.parse(data)); } catch (error) { reject(error); } };
    socket.onclose = ({ code }) => reject(new Ended(code));
    link.send = (body) => socket.send(body);
  }),
  async sse(link) {
    let event = '', data = '';
    for await (const line of lines(link, { envelope: 1 }, 'text/event-stream')) {
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (!line) {
        const op = ['ready', 'gap', 'bye', 'error', 'signal'].includes(event) ? { op: event } : {};
        if (data) link.receive({ ...JSON.parse(data), ...op });
        event = data = '';
      } else if (field === 'event') event = value;
      else if (field === 'data') data += `${value}\n`;
      else if (field === 'retry' && /^\d+$/.test(value)) link.advice = Number(value);
    }
  },
  async stream(link) {
    for await (const line of lines(link, {}, 'application/x-ndjson')) if (line) link.receive(JSON.parse(line));
  },
  'long-poll': (link) => pages(link, 25),
  poll: (link) => pages(link, 0),
};
const order = Object.keys(transports);

/** The lines of an endless body; they end with LF, CRLF or CR (HTML, "Parsing an event stream"). */
async function* lines(link, query, accept) {
  const response = await request(link.address(query), { headers: { Accept: accept }, signal: link.signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ''; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    if (link.opened) link.limit(SILENCE);
    const parts = (rest + value).split(/\r\n|\n|\r(?!$)/); // a CR at the very end may be half of a CRLF
    rest = parts.pop();
    yield* parts;
  }
}

/** Page after page: each request waits at the server for up to `wait` seconds, or else we wait between requests. */
async function pages(link, wait) {
  for (let first = true; ; first = false) {
    const query = wait && !first ? { wait } : {}; // the first answer comes at once: a proof of life
    const response = await request(link.address(query), { headers: { Accept: 'application/json' }, signal: link.signal });
    const page = await response.json();
    if (page.gap) link.receive({ ...page.gap, op: 'gap' });
    page.messages.forEach((message) => link.receive(message));
    link.receive({ op: 'ready', cursor: page.cursor });
    if (!wait && !page.more) await sleep(2_000);
    link.limit((wait + 10) * 1000);
  }
}

// ---- The connection

let state = 'connecting';
let cursor = ''; // the last message we have: it goes with us from transport to transport
let link = /** @type {Link | undefined} */ (undefined);
let rung = Math.max(0, order.indexOf(keep('sessionStorage', 'worked'))); // where the automatic choice stands in order
let wake = () => {}; // ends the current pause

/** One connection on one transport. */
class Link {
  #control = new AbortController();
  #timer = 0;
  signal = this.#control.signal;
  end = () => this.#control.abort();
  address = (query) => `${url}?${new URLSearchParams({ ...query, ...(cursor ? { since: cursor } : { last: String(HISTORY) }) })}`;
  opened = 0; // when it was ready, by performance.now()
  send = /** @type {((body: string) => void) | undefined} */ (undefined); // set by a transport that goes both ways
  advice = /** @type {number | undefined} */ (undefined); // ms for which the server wants us to stay away

  constructor(name) {
    this.name = name;
    this.option = $(`option[value=${name}]`);
    this.label = this.option.text.replace(/^[LP]/, (first) => first.toLowerCase());
  }

  /** Ends the link after ms, unless called again before; 0 lifts the limit. */
  limit(ms) {
    clearTimeout(this.#timer);
    if (ms) this.#timer = setTimeout(this.end, ms);
  }

  /** Resolves, once the connection is over, to what ended it. */
  async run(patience) {
    this.limit(patience);
    const aborted = new Promise((done) => { this.signal.addEventListener('abort', done); });
    const cause = await Promise.race([transports[this.name](this), aborted]).catch((error) => error);
    this.limit(0);
    this.end();
    return cause instanceof Ended ? cause : new Ended(0);
  }

  /** Takes a message or a control object: on all transports they look alike. */
  receive(item) {
    if (this.signal.aborted) return;
    const retry = Array.isArray(item.retry_ms) ? random(...item.retry_ms) : item.retry_ms;
    if (item.op === undefined) {
      cursor = item.id ?? cursor;
      show(item);
    } else if (item.op === 'gap') {
      cursor = item.to ?? cursor;
      gap(item.reason);
    } else if (item.op === 'bye') this.advice = retry ?? this.advice;
    else if (item.op === 'error') setTimeout(() => { doubt(this); pump(); }, retry ?? 1000);
    else if (item.op === 'ready') {
      cursor = item.cursor ?? cursor;
      if (this.opened) return;
      this.opened = performance.now();
      this.limit(this.send ? 0 : SILENCE); // a script cannot see a socket's pings
      if (pick.value === 'auto') keep('sessionStorage', 'worked', this.name);
      enter('open', `Connected by ${this.label}`);
      setTimeout(() => log.setAttribute('aria-live', 'polite'), 1000); // the history is in: from now on read aloud
      pump();
    }
  }
}

/** The one place where the state changes. */
function enter(next, words) {
  state = next;
  Object.assign(document.body.dataset, { state, transport: link.name });
  if (status.textContent !== words) status.textContent = words;
  again.hidden = state !== 'waiting' && state !== 'closed';
  $('#explain').textContent = link.option.title;
}

/** Keeps the page connected for as long as it lives. */
async function live() {
  for (let tries = 0, cuts = 0, before = false; ;) {
    const choice = pick.value;
    const last = link = new Link(choice === 'auto' ? order[rung] : choice);
    enter('connecting', `${before ? 'Reconnecting' : 'Connecting'} by ${last.label}…`);
    let end = await last.run(PATIENCE * Math.min(1 + tries, 4));
    doubt(last);
    before ||= last.opened > 0;
    const lived = last.opened && performance.now() - last.opened;
    if (lived > STABLE) tries = cuts = 0;

    let blocked = false;
    const told = end.code in FINAL || end.code === 429 || end.code === 503 || last.advice !== undefined;
    if (!last.opened && !told && pick.value === choice) {
      // Does this transport not get through, or is nobody there? The room itself knows.
      end = await request(url, { method: 'HEAD', signal: AbortSignal.timeout(PATIENCE) })
        .then(() => new Ended(200), (error) => (error instanceof Ended ? error : new Ended(0)));
      blocked = end.code === 200 || end.code > 403 && end.code < 500 && end.code !== 429 || end.code === 501;
    } else if (lived < STABLE && end.code === 1006) blocked = ++cuts >= 3; // opened and cut, again and again

    if (blocked || pick.value !== choice) cuts = 0;
    if (pick.value !== choice) continue;
    if (blocked && choice === 'auto' && (rung = (rung + 1) % order.length)) continue;
    if (end.code in FINAL) {
      fail(FINAL[end.code]);
      enter('closed', `${FINAL[end.code]}.`);
      await pause();
      continue;
    }
    let backoff = random(0, Math.min(30_000, 500 * 2 ** tries++));
    if (end.code === 4410) [cursor, backoff] = ['', random(1000, 5000)]; // our cursor is none any more: begin anew
    if (end.code === 4410) gap();
    const why = !navigator.onLine ? 'You are offline.' : blocked && choice !== 'auto' ? `No way through by ${last.label}.` : 'Connection lost.';
    enter('waiting', `${why} Trying again…`);
    await pause(last.advice ?? end.advice ?? backoff);
  }
}

/** Waits for ms, or for ever, or until wake is called. */
const pause = (ms) => new Promise((done) => {
  wake = done;
  if (ms !== undefined) setTimeout(done, ms);
});

// ---- Sending: a message stays in the outbox, and at the end of the log, until the log brings it back

const outbox = /** @type {Map<string, Outgoing>} */ (new Map());
const mine = new Set(keep('localStorage', 'mine')?.split(' ')); // keys of what this browser wrote
let pumping = false;

function say(words) {
  const key = unique();
  const li = draw({ name, words, at: new Date(), own: true });
  li.classList.add('pending');
  log.append(li);
  group(li);
  toEnd();
  outbox.set(key, { key, li, body: JSON.stringify({ name, text: words, key }), began: performance.now(), tries: 0, state: 'queued' });
  keep('localStorage', 'mine', [...mine.add(key)].slice(-200).join(' '));
  pump();
}

/** Delivers what is queued, in order, one at a time. */
async function pump() {
  if (pumping) return;
  pumping = true;
  for (let item; state === 'open' && (item = [...outbox.values()].find((each) => each.state === 'queued'));) await deliver(item);
  pumping = false;
}

/** By frame where the link goes both ways, else by POST; what may have arrived before goes by POST, whose key the server knows. */
async function deliver(item) {
  if (link.send && !item.doubt) {
    const via = link;
    Object.assign(item, { state: 'sent', via });
    via.send(item.body);
    setTimeout(() => { if (item.state === 'sent' && item.via === via && outbox.has(item.key)) via.end(); }, ECHO);
    return;
  }
  if (item.doubt) await sleep(1000); // its echo may only be late
  if (!outbox.has(item.key)) return;
  try {
    const signal = AbortSignal.timeout(15_000);
    const response = await request(url, { method: 'POST', body: item.body, headers: { 'Idempotency-Key': item.key }, signal });
    const answer = await response.json();
    if (outbox.has(item.key)) confirm(item.li, answer);
    item.state = 'stored';
    setTimeout(() => show({ ...answer, data: item.body }), SILENCE); // should a gap have swallowed its echo
  } catch (error) {
    const passing = !(error instanceof Ended) || error.code === 429 || error.code >= 500;
    if (passing && ++item.tries < 5) await sleep(error.advice ?? random(500, 1000 * 2 ** item.tries));
    else fail({ 413: 'Too long', 429: 'Too many messages' }[error.code] ?? FINAL[error.code] ?? 'The server did not take it', item);
  }
}

/** A link ended or complained: what it sent and did not echo may or may not have arrived. */
function doubt(via) {
  for (const item of outbox.values()) if (item.via === via && item.state === 'sent') Object.assign(item, { state: 'queued', doubt: true });
}

/** Gives up one message, or all that wait, until somebody presses "Try again". */
function fail(why, only) {
  for (const item of only ? [only] : outbox.values()) {
    if (item.state === 'stored' || item.state === 'failed') continue;
    item.state = 'failed';
    item.li.classList.add('failed');
    const button = Object.assign(element('button', '', 'Try again'), { type: 'button' });
    item.li.querySelector('.bubble').append(element('p', 'trouble', `${why}. `, button));
    button.onclick = () => {
      button.parentElement.remove();
      item.li.classList.remove('failed');
      Object.assign(item, { state: 'queued', doubt: true, tries: 0 });
      text.focus();
      state === 'open' ? pump() : wake();
    };
  }
}

/** The server has it: takes over the id and the time that it gave. */
function confirm(li, { id, at }) {
  li.classList.remove('pending', 'failed');
  li.querySelector('.trouble')?.remove();
  li.dataset.id = id;
  clock(li.querySelector('time'), new Date(at));
}

// ---- The log

const hours = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const days = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const seen = new Set(); // ids and keys of what is or was in the log
let atEnd = true, scrolling = 0, unseen = 0, unread = 0, lastDay = '';

const clock = (time, at) => Object.assign(time, { dateTime: at.toISOString(), textContent: hours.format(at), title: exact.format(at) });

/** Remembers a mark; false if it was known. Bounded, since ids come in order and old ones do not come again. */
function fresh(mark) {
  if (seen.has(mark)) return false;
  if (seen.add(mark).size > 4 * SHOWN) seen.delete(seen.values().next().value);
  return true;
}

/** Takes a message from the log. @param {Message} message */
function show(message) {
  const { name, words, key } = read(message);
  if (!fresh(message.id) || key && !fresh(`key ${key}`) || /^(edit|retract)$/.test(message.event)) return;
  const item = outbox.get(key), own = mine.has(key);
  const li = item?.li ?? draw({ name, words, at: new Date(message.at), own });
  confirm(li, message);
  if (outbox.delete(key)) lag(performance.now() - item.began);
  settle(li);
  if (log.getAttribute('aria-live') === 'off') return;
  spark(own);
  if (!atEnd && !own) notice(unseen + 1);
  if (document.hidden && !own) title(unread + 1);
}

/** Who says what. The data may be of our own shape, as JSON or as its text, or anything that anybody published. */
function read({ data, from }) {
  const string = (value) => (typeof value === 'string' ? value : undefined);
  try {
    const inner = JSON.parse(data);
    if (string(data) && string(inner?.text) !== undefined) data = inner;
  } catch { /* no JSON within */ }
  const name = from?.name ?? (string(data?.name)?.trim().slice(0, 40) || 'guest');
  if (string(data?.text) !== undefined) return { name, words: data.text, key: string(data.key) };
  if (string(data?.base64) === undefined) return { name, words: string(data) ?? JSON.stringify(data) };
  const size = Math.floor(data.base64.replace(/=+$/, '').length * 3 / 4);
  return { name, words: `[${data.type || 'data'}, ${size < 1000 ? `${size} bytes` : `${Math.round(size / 1000)} kB`}]` };
}

/** Puts a message where the log has it, under its day. */
function settle(li) {
  const day = days.format(new Date(li.querySelector('time').dateTime));
  const label = { [days.format(Date.now())]: 'Today', [days.format(Date.now() - 864e5)]: 'Yesterday' }[day] ?? day;
  if (day !== lastDay) put(element('li', 'day', label));
  lastDay = day;
  const below = li.nextElementSibling;
  put(li);
  for (const each of [li, li.nextElementSibling, below]) if (each) group(each);
}

/** Adds an item to the log, before the own messages that the log has not brought back yet. */
function put(li) {
  log.insertBefore(li, [...outbox.values()].map((item) => item.li).find((tail) => tail !== li && tail.isConnected) ?? null);
  while (log.childElementCount > SHOWN) log.firstElementChild.remove();
  if (atEnd) toEnd();
}

/** Marks a message that continues the one above it. */
function group(li) {
  const above = li.previousElementSibling;
  const time = (item) => Date.parse(item.querySelector('time').dateTime);
  li.classList.toggle('follow', !!li.dataset.who && above?.dataset.who === li.dataset.who && time(li) - time(above) < GROUP);
}

function gap(reason) {
  put(element('li', 'gap', element('span', '', reason === 'epoch' ? 'The room began anew; messages may be missing' : 'Some messages were missed')));
}

function element(tag, className, ...children) {
  const node = Object.assign(document.createElement(tag), { className });
  node.append(...children);
  return node;
}

function draw({ name, words, at, own }) {
  const hash = [...name].reduce((sum, char) => (sum * 31 + char.codePointAt(0)) >>> 0, 7);
  const avatar = element('span', 'avatar', name.split(/\s+/, 2).map((word) => [...word][0] ?? '').join('').toUpperCase());
  avatar.setAttribute('aria-hidden', 'true');
  const author = element('span', 'author', name);
  const body = element('p', 'text', ...linked(words));
  author.dir = body.dir = 'auto';
  const head = element('p', 'head', author, ' ', clock(element('time', ''), at));
  const li = element('li', own ? 'message own' : 'message', avatar, element('div', 'bubble', head, body));
  li.dataset.who = `${own ? 'me' : 'them'} ${name}`;
  li.style.setProperty('--hue', String(hash * 47 % 360));
  return li;
}

/** Text as nodes, http and https addresses as links. Nothing from the wire is ever parsed as HTML. */
function linked(words) {
  return words.split(/(https?:\/\/[^\s<>"]+)/i).flatMap((part, index) => {
    const href = index % 2 ? part.replace(part.includes('(') ? /[.,;:!?'\]}»]+$/ : /[.,;:!?'\]})»]+$/, '') : '';
    if (!href || !URL.canParse(href)) return part;
    return [Object.assign(element('a', '', href), { href, target: '_blank', rel: 'noopener noreferrer nofollow' }), part.slice(href.length)];
  });
}

function toEnd() {
  atEnd = true;
  notice(0);
  scrolling ||= requestAnimationFrame(() => { scrolling = 0; log.scrollTop = log.scrollHeight; });
}

function notice(count) {
  unseen = count;
  Object.assign(newer, { hidden: !count, textContent: `${count} new message${count === 1 ? '' : 's'}` });
}

function title(count) {
  unread = count;
  document.title = `${count ? `(${count}) ` : ''}#${room}`;
}

/** Says how long an own message took until the log brought it back. */
function lag(ms) {
  const time = ms < 1000 ? `${Math.round(ms)}\u00a0ms` : `${(ms / 1000).toFixed(1)}\u00a0s`;
  Object.assign($('#lag'), { hidden: false, textContent: `Your last message: there and back in ${time}.` });
}

/** Something passes along the wire: rightwards what comes, leftwards what was ours. */
function spark(own) {
  if (document.hidden || $('#wire').childElementCount > 3 || matchMedia('(prefers-reduced-motion: reduce)').matches) return;
  const node = Object.assign(element('i', own ? 'spark up' : 'spark'), { onanimationend: () => node.remove() });
  $('#wire').append(node);
}

// ---- The page

title(0);
for (const node of document.querySelectorAll('.room')) node.textContent = `#${room}`;
for (const node of document.querySelectorAll('.curl')) node.textContent = `curl -d hi ${url}`;

const oneOf = (words) => words.split(' ')[Math.floor(random(0, words.split(' ').length))];
let name = keep('localStorage', 'name') || `${oneOf('Calm Bright Early Gentle Quick Quiet Sunny')} ${oneOf('Badger Finch Fox Heron Lynx Otter Robin Seal')}`;
nick.onchange = () => keep('localStorage', 'name', nick.value = name = nick.value.trim() || name);
nick.onchange();

text.oninput = () => { text.style.height = 'auto'; text.style.height = `${text.scrollHeight}px`; };
text.onkeydown = (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return; // 229: Safari's last composing key
  event.preventDefault();
  $('#composer').requestSubmit();
};
$('#composer').noValidate = true;
$('#composer').onsubmit = (event) => {
  event.preventDefault();
  if (text.value.trim()) say(text.value.trim());
  text.value = '';
  text.oninput();
  text.focus();
};
$('#send').onpointerdown = (event) => event.preventDefault(); // the focus, and with it a phone's keyboard, stays

log.onscroll = () => {
  if (scrolling) return; // the log has just grown, and the reader has not moved
  atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  if (atEnd) notice(0);
};
new ResizeObserver(() => { if (atEnd) toEnd(); }).observe(log);
newer.onclick = () => { toEnd(); text.focus(); };
again.onclick = () => wake();
pick.value = keep('sessionStorage', 'pick') ?? 'auto';
pick.onchange = () => {
  keep('sessionStorage', 'pick', pick.value);
  rung = 0;
  link.end();
  wake();
};

const comeBack = () => { if (state === 'waiting') wake(); };
for (const event of ['online', 'pageshow']) addEventListener(event, comeBack);
for (const event of ['offline', 'pagehide']) addEventListener(event, () => link.end()); // the back/forward cache takes no open connections
addEventListener('visibilitychange', () => { if (!document.hidden) { title(0); comeBack(); } });

if (matchMedia('(pointer: fine)').matches) text.focus();
live();
