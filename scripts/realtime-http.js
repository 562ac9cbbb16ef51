/**
 * The transports for clients that cannot use a WebSocket. realtime.js loads this when it needs it.
 *
 * @module
 */
import { problem, retryAfter, userOf } from './ask.js';
import { BAD_REQUEST, BROKEN, INTERNAL_SERVER_ERROR, PRECONDITION_FAILED, TOO_MANY_REQUESTS, UNAUTHORIZED } from './codes.js';

/**
 * @typedef {import('./realtime.js').Envelope} Envelope
 * @typedef {import('./realtime.js').Wire} Wire
 * @typedef {import('./link.js').Link} Link
 * @typedef {import('./connection.js').Connection} Connection
 * @typedef {(accept: string, query: Wire) => Promise<Response>} Get
 * @typedef {(get: Get, take: (object: any) => void) => Promise<void>} Read Reads some rooms, and passes on each object.
 */

const MAX_ROOMS = 100; // in one URL, and in one connection
const MAX_URL = 8_000; // bytes that proxies let pass
const POSTED = 10_000; // ms in which a command must be answered; one more for each of its characters

/**
 * The hub's URL with rooms of one kind: they have the same `last` and the same state.
 * @type {(connection: Connection, names: string[], query?: Wire) => string}
 */
const addressOf = (connection, names, query) => {
  const since = [];
  /** @type {any} */
  let room;
  for (const name of names) {
    room = connection.rooms_.get(name) ?? {};
    if (room.at_ && !room.last_) since.push(encodeURIComponent(name) + '=' + encodeURIComponent(room.at_));
  }
  const url = new URL(connection.address_({ since: since.join(), last: room.last_, state: JSON.stringify(room.state_), ...query }));
  for (const name of names) url.searchParams.append('room', name);
  return url.href;
};

/** The names of the rooms, in lists of one kind that each fit into one URL. @param {Connection} connection */
const parts = (connection) => {
  /** @type {Record<string, string[][]>} */
  const kinds = {};
  for (const [name, { last_, state_ }] of connection.rooms_) {
    const lists = (kinds[JSON.stringify([last_, state_])] ??= [[]]);
    if (addressOf(connection, [...lists[0], name]).length > MAX_URL) lists.unshift([]);
    lists[0].push(name);
  }
  return Object.values(kinds).flat();
};

/**
 * A transport of two kinds of request. GETs name the rooms and return objects; they begin again when the rooms change.
 * POSTs carry commands, one at a time.
 */
class Requests {
  life_ = new AbortController(); // ends the POSTs
  gets_ = new AbortController(); // ends the GETs
  tail_ = Promise.resolve(); // settled when all commands so far are posted
  user_ = ''; // the user that the server took us for

  /** @param {Link} link @param {Read} read */
  constructor(link, read) {
    this.link_ = link;
    this.connection_ = link.connection_;
    this.read_ = read;
    this.start_();
  }

  /** Begins to read the present rooms. */
  async start_() {
    const { connection_: connection } = this;
    this.gets_.abort();
    const { signal } = (this.gets_ = new AbortController());
    await 0; // more rooms may come at once
    if (signal.aborted) return;
    if (!connection.rooms_.size) return this.look_(signal);
    // One after the other: the answer to the first has the conn that the others send.
    for (const names of parts(connection)) await this.open_(names, signal);
  }

  /** Asks for the status and the headers alone. */
  head_() {
    return this.connection_.page_.ask_(this.connection_.address_(), { method: 'HEAD' });
  }

  /** There is nothing to read. A HEAD shows whether the server can be reached. @param {AbortSignal} signal */
  look_(signal) {
    this.head_().then(
      (answer) => {
        const id = userOf(answer);
        answer.ok ? this.take_({ op: 'ready', conn: answer.headers.get('Realtime-Conn'), user: id && { id } }, signal) : this.end_(answer, signal);
      },
      (error) => this.end_(error, signal),
    );
  }

  /** Reads some rooms. The promise is settled as soon as that has begun. @param {string[]} names @param {AbortSignal} signal */
  open_(names, signal) {
    return new Promise((/** @type {any} */ next) => {
      this.read_(
        async (Accept, query) => {
          const answer = await this.connection_.page_.ask_(addressOf(this.connection_, names, query), { headers: { Accept }, signal });
          if (answer.ok) return answer;
          if (answer.status < INTERNAL_SERVER_ERROR) await this.blame_(names);
          throw answer;
        },
        (object) => {
          this.take_(object, signal);
          if (object.op == 'ready') next();
        },
      )
        .then(
          () => new Response(),
          (error) => error,
        )
        // The server ends a stream whose rooms it has all taken away.
        .then((answer) => (names.some((name) => this.connection_.rooms_.has(name)) ? this.end_(answer, signal) : signal.aborted || this.start_()));
    });
  }

  /** @param {Wire} object @param {AbortSignal} signal Of the GETs from which it comes. */
  take_(object, signal) {
    if (signal.aborted) return;
    if (object.op == 'ready') this.user_ = object.user?.id ?? '';
    this.link_.take_(object);
  }

  /** Ends the link with an answer, or an error of fetch, which has no status. @param {any} answer @param {AbortSignal} signal */
  end_(answer, signal) {
    if (!signal.aborted) this.link_.end_(answer.status, answer.status && retryAfter(answer));
  }

  /** A GET may have been refused because of some rooms: the others go on without them. @param {string[]} names */
  async blame_(names) {
    const { connection_: connection } = this;
    /** @type {(name: string, query: Wire) => Promise<any>} The refusal, if there is one that waiting does not cure. */
    const refusal = async (name, query) => {
      const answer = connection.rooms_.has(name) && (await connection.page_.ask_(addressOf(connection, [name], query)));
      return answer && !answer.ok && answer.status < INTERNAL_SERVER_ERROR && answer.status != TOO_MANY_REQUESTS && answer;
    };
    let found;
    if ((await this.head_()).ok)
      for (const name of names) {
        // A plain page needs the right to read old messages, and a middlebox may refuse whatever waits. A room refuses both.
        const answer = (await refusal(name, { limit: 1 })) && (await refusal(name, { wait: 1 }));
        const room = connection.rooms_.get(name);
        if (!answer || !room) continue;
        found = true;
        this.link_.take_({ ...(await problem(answer)), op: 'error', room: name, ref: (room.ref_ ||= 1) });
      }
    if (found) this.start_();
  }

  /**
   * Posts a command. A refusal is about this command alone, except for 412 (the user has changed), 429, 5xx and that of a token,
   * which end the link.
   * @param {number} ref @param {string} room @param {string} body
   */
  async post_(ref, room, body) {
    const { link_: link, connection_: { page_: page } } = this;
    const url = new URL(this.connection_.address_({ commands: 1 }));
    url.searchParams.set('user', this.user_);
    const signal = AbortSignal.any([this.life_.signal, AbortSignal.timeout(POSTED + body.length)]);
    /** @type {RequestInit} What a visitor has not asked for must not make the browser ask for a password: signals, and leaving. */
    const quiet = ref || this.user_ ? {} : { credentials: 'omit', redirect: 'manual' };
    const answer = await page.ask_(/** @type {any} */ (url), { method: 'POST', body, signal, ...quiet });
    const { ok, status } = answer;
    if (ok) link.take_(await answer.json());
    else if (status >= INTERNAL_SERVER_ERROR || status == TOO_MANY_REQUESTS || status == PRECONDITION_FAILED || (page.bearer_ && status == UNAUTHORIZED))
      link.end_(status, retryAfter(answer));
    else link.take_({ ...(await problem(answer)), op: 'error', ref, room });
  }

  /** @param {Wire} command @param {string} text The same as JSON. */
  send_({ op, room, ref }, text) {
    if (op == 'join' && this.connection_.rooms_.size > MAX_ROOMS)
      return queueMicrotask(() => this.link_.take_({ op: 'error', room, ref, status: BAD_REQUEST, title: 'too many rooms' }));
    if (op == 'join' || (op == 'state' && !this.user_)) return this.start_(); // the URL has the state: no POST may ask a visitor for a password
    if (op == 'leave') this.start_();
    this.tail_ = this.tail_.then(() => this.post_(ref, room, text)).catch(() => this.link_.end_(BROKEN));
  }

  close_() {
    this.gets_.abort();
    this.life_.abort(); // commands that wait are sent again, in their order
  }
}

/**
 * Server-sent events (HTML, "Parsing an event stream"). `event` and `id` are ignored: the objects have both.
 * @type {Read}
 */
const readStream = async (get, take) => {
  const { body } = /** @type {any} */ (await get('text/event-stream', { envelope: 1 }));
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let data = '';
  let half = false; // whether a CR came last: a LF that follows belongs to it
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    take({});
    if (!value) continue;
    const lines = (rest + (half ? value.replace(/^\n/, '') : value)).split(/\r\n?|\n/);
    half = value.endsWith('\r');
    rest = /** @type {string} */ (lines.pop());
    for (const line of lines) {
      const [, field, text] = /** @type {string[]} */ (line.match(/^([^:]*):? ?(.*)/s));
      if (field == 'data') data += '\n' + text;
      if (field == 'retry' && /^\d+$/.test(text)) take({ op: 'bye', retry_ms: [+text, +text] });
      if (!line) {
        if (data > '\n') take(JSON.parse(data));
        data = '';
      }
    }
  }
};

/** Long polling: pages, turned into the objects of a stream. @type {Read} */
const readPages = async (get, take) => {
  for (let query = /** @type {Wire} */ ({ wait: 1 }); ; ) {
    const response = await get('application/json', query);
    const page = await response.json();
    take({ op: 'ready', conn: page.conn, user: page.user, heartbeat: 12 });
    // The first page answers the joins.
    if (query.wait == 1)
      for (const room of page.rooms ?? [page.room])
        take({
          op: 'ok',
          room,
          // Where it began: before the first message, or where the page ends.
          cursor:
            page.messages
              .find((/** @type {Envelope} */ message) => message.id && message.room == room)
              ?.id.replace(/\d+$/, (/** @type {any} */ offset) => offset - 1) ??
            new URLSearchParams(page.cursor.replace(/,/g, '&')).get(room) ??
            page.cursor,
        });
    query = { wait: 25, presence: page.presence_cursor };
    [page.presence, page.gap, page.gaps, page.messages].flat().forEach((it) => it && take(it));
  }
};

/** @type {import('./transports.js').Transport} */
export const sse = (link) => new Requests(link, readStream);
/** @type {import('./transports.js').Transport} */
export const poll = (link) => new Requests(link, readPages);
