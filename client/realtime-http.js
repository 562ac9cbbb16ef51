/**
 * The transports of those who have no WebSocket. realtime.js loads this when it needs it.
 *
 * @module
 */
import { ask, head, problem, retryAfter, userOf } from './ask.js';

/**
 * @typedef {import('./realtime.js').Envelope} Envelope
 * @typedef {import('./realtime.js').Wire} Wire
 * @typedef {import('./transports.js').Joined} Joined
 * @typedef {import('./transports.js').Transport} Transport
 * @typedef {(accept: string, query: Wire) => Promise<Response>} Get
 */

const MAX_ROOMS = 100; // in one URL, and in one connection
const MAX_URL = 8_000; // bytes that proxies let pass

/**
 * A transport of two kinds of request: GETs that name the rooms and bring objects, begun again when the rooms change,
 * and POSTs, one at a time, that bring commands.
 * @param {(get: Get, receive: (object: any) => void) => Promise<void>} read
 * @returns {Transport}
 */
const http = (read) => (address, rooms, receive, end) => {
  let tail = Promise.resolve();
  const life = new AbortController();
  let user = ''; // whom the server took us for
  /** @type {AbortController | undefined} */
  let abort;

  /** The hub's URL with rooms of one kind: what they begin with, and what is shown there. @type {(names: string[], query?: Wire) => string} */
  const extended = (names, query) => {
    const since = [];
    /** @type {any} */
    let joined;
    for (const name of names) {
      joined = rooms.get(name) ?? {};
      if (joined.at_ && !joined.last_) since.push(encodeURIComponent(name) + '=' + encodeURIComponent(joined.at_));
    }
    const url = new URL(address({ since: since.join(), last: joined.last_, state: JSON.stringify(joined.state_), ...query }));
    for (const name of names) url.searchParams.append('room', name);
    return url.href;
  };

  /** The names of the rooms, so many of a kind at a time as fit into one URL. */
  const parts = () => {
    /** @type {Record<string, string[][]>} */
    const kinds = {};
    for (const [name, { last_, state_ }] of rooms) {
      const lists = (kinds[JSON.stringify([last_, state_])] ??= [[]]);
      if (extended([...lists[0], name]).length > MAX_URL) lists.unshift([]);
      lists[0].push(name);
    }
    return Object.values(kinds).flat();
  };

  /** What a GET was refused for may be the fault of some rooms: the others go on without them. @type {(names: string[]) => Promise<void>} */
  const blame = async (names) => {
    let found;
    if ((await head(address())).ok)
      for (const room of names) {
        const joined = rooms.get(room);
        const answer = joined && (await ask(extended([room], { limit: 1 })));
        if (!answer || answer.ok || answer.status > 499 || answer.status == 429) continue;
        found = true;
        receive({ ...(await problem(answer)), op: 'error', room, ref: (joined.ref_ ||= 1) });
      }
    if (found) start();
  };

  const start = async () => {
    abort?.abort();
    const { signal } = (abort = new AbortController());
    const over = (/** @type {any} */ answer) =>
      signal.aborted || end(answer?.status ?? 0, answer?.status ? retryAfter(answer) : 0);
    const take = (/** @type {any} */ object) => {
      if (signal.aborted) return;
      if (object.op == 'ready') user = object.user?.id ?? '';
      receive(object);
    };
    await 0; // more rooms may come at once
    if (signal.aborted) return;
    if (!rooms.size)
      // Nothing is to be read. Whether anything gets through, HEAD says.
      head(address()).then((answer) => {
        const id = userOf(answer);
        answer.ok ? take({ op: 'ready', user: id && { id } }) : over(answer);
      }, over);
    // One after the other: the first tells the conn that the others say.
    for (const names of parts())
      await new Promise((next) => {
        read(
          async (Accept, query) => {
            const answer = await ask(extended(names, query), { headers: { Accept }, signal });
            if (answer.ok) return answer;
            if (answer.status < 500) await blame(names);
            throw answer;
          },
          (object) => {
            take(object);
            if (object.op == 'ready') next(0);
          },
        ).then(() => over({ status: 200, headers: new Headers() }), over);
      });
  };
  start();

  /** Posts a command. What is refused is this command, as far as the server can tell; unless it takes us for another user by now. */
  const post = async (/** @type {Wire} */ { ref, room }, /** @type {string} */ body) => {
    const url = new URL(address({ commands: 1 }));
    url.searchParams.set('user', user);
    const signal = AbortSignal.any([life.signal, AbortSignal.timeout(1e4 + body.length)]);
    const answer = await ask(url.href, { method: 'POST', body, signal });
    const { ok, status } = answer;
    if (ok) receive(await answer.json());
    else if (status > 499 || status == 429 || status == 412) end(status, retryAfter(answer));
    else receive({ ...(await problem(answer)), op: 'error', ref, room });
  };

  return {
    send_(command, text) {
      const { op, room, ref } = command;
      if (op == 'join' && rooms.size > MAX_ROOMS) return queueMicrotask(() => receive({ op: 'error', room, ref, status: 400, title: 'too many rooms' }));
      if (/join|leave/.test(op)) start();
      if (op != 'join') tail = tail.then(() => post(command, text)).catch(() => end(0));
    },
    close_() {
      abort?.abort();
      life.abort(); // what waits is sent anew, in its order
    },
  };
};

/**
 * Server-sent events (HTML, "Parsing an event stream"). `event` and `id` are not looked at: the objects say it themselves.
 */
export const sse = http(async (get, receive) => {
  const { body } = /** @type {any} */ (await get('text/event-stream', { envelope: 1 }));
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let data = '';
  let half = false; // whether a CR came last: a LF that follows belongs to it
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    receive({});
    if (!value) continue;
    const lines = (rest + (half ? value.replace(/^\n/, '') : value)).split(/\r\n?|\n/);
    half = value.endsWith('\r');
    rest = /** @type {string} */ (lines.pop());
    for (const line of lines) {
      const [, field, text] = /** @type {string[]} */ (line.match(/^([^:]*):? ?(.*)/s));
      if (field == 'data') data += '\n' + text;
      if (field == 'retry' && /^\d+$/.test(text)) receive({ op: 'bye', retry_ms: [+text, +text] });
      if (!line) {
        if (data > '\n') receive(JSON.parse(data));
        data = '';
      }
    }
  }
});

/** Long polling: pages, turned into the objects of a stream. */
export const poll = http(async (get, receive) => {
  for (let query = /** @type {Wire} */ ({ wait: 1 }); ; ) {
    const response = await get('application/json', query);
    const page = await response.json();
    receive({ op: 'ready', conn: page.conn, user: page.user, heartbeat: 12 });
    // The first page answers the joins.
    if (query.wait == 1)
      for (const room of page.rooms ?? [page.room])
        receive({
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
    [page.presence, page.gap, page.gaps, page.messages].flat().forEach((it) => it && receive(it));
  }
});
