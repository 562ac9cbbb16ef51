/**
 * The ways to a hub: `websocket`, `sse` and `poll`, three of one shape.
 *
 * @module
 */

/**
 * @typedef {import('./realtime.js').Envelope} Envelope
 * @typedef {import('./realtime.js').Wire} Wire
 * @typedef {(named?: boolean, query?: Wire) => string} Address
 * @typedef {(code: number, wait?: number) => void} End Takes a close code, an HTTP status, 0 where the network is to blame,
 *   or 1 for silence; and for how many ms not to come back.
 * @typedef {(accept: string, query: Wire) => Promise<Response>} Get
 *
 * @typedef {object} Joined What the connection knows of a room, for all tabs.
 * @property {Set<number>} tabs_ Who is in it.
 * @property {Set<number>} joins_ Whose join has no answer yet.
 * @property {number} [ref_] The last join's on the wire.
 * @property {string} [at_] Up to here all tabs have what they need.
 * @property {number | string} [last_] What an unanswered join wants to begin with.
 * @property {any} [state_] What is shown in presence.
 *
 * @typedef {(address: Address, receive: (object?: any) => void, end: End, rooms: Map<string, Joined>) =>
 *   {send_: (command: Wire) => void, close_: () => void, ping_?: () => void}} Transport
 *   Opens one. It calls `receive` with each object, or an empty one for a sign of life, and `end` once. One without `ping_`
 *   reads the rooms to join from `rooms`.
 */

/** @type {(url: string, init: RequestInit, end?: End) => Promise<Response>} */
export const ask = async (url, init, end) => {
  const response = await fetch(url, { cache: 'no-store', ...init });
  response.ok || end?.(response.status, /** @type {any} */ (response.headers.get('Retry-After')) * 1e3);
  return response;
};

/** A URL with parameters; a list is one that comes several times. @type {(url: string, parameters: Wire) => string} */
export const extend = (url, parameters) => {
  const extended = new URL(url);
  for (const name in parameters)
    for (const value of [parameters[name] || []].flat()) extended.searchParams.append(name, value);
  return extended.href;
};

/** WebSocket. A script does not see why it was refused (1006), so it asks with HEAD. @type {Transport} */
const websocket = (address, receive, end) => {
  const socket = new WebSocket(address().replace('http', 'ws'), 'realtime.v1');
  let silent = true;
  socket.onmessage = ({ data }) => {
    silent = false;
    for (const line of data.split('\n')) receive(line && JSON.parse(line));
  };
  socket.onclose = ({ code }) =>
    silent && code == 1006
      ? ask(address(true), { method: 'HEAD' }, end).then(({ status }) => end(status), () => end(0))
      : end(code);
  return {
    send_: (command) => socket.readyState == 1 && socket.send(JSON.stringify(command)),
    ping_: () => socket.send('\n'),
    close_: () => socket.close(),
  };
};

/**
 * A transport of two kinds of request: a GET that names the rooms and brings objects, begun again when the rooms change,
 * and POSTs, one at a time, that bring commands.
 * @param {(get: Get, receive: (object?: any) => void) => Promise<void>} read
 * @returns {Transport}
 */
const http = (read) => (address, receive, end, rooms) => {
  let tail = Promise.resolve();
  /** @type {AbortController | undefined} */
  let abort;
  const start = async () => {
    abort?.abort();
    const { signal } = (abort = new AbortController());
    try {
      await 0; // more rooms may come at once
      if (!rooms.size) return receive({ op: 'ready' });
      await read(
        (Accept, query) => ask(address(true, query), { headers: { Accept }, signal }, end),
        (object) => signal.aborted || receive(object),
      );
      signal.aborted || end(200);
    } catch {
      signal.aborted || end(0);
    }
  };
  start();
  return {
    send_(command) {
      if (/join|leave/.test(command.op)) start();
      if (command.op != 'join')
        tail = tail
          .then(async () => {
            const post = { method: 'POST', body: JSON.stringify(command) };
            receive(await (await ask(address(false, { commands: 1 }), post, end)).json());
          })
          .catch(() => end(0));
    },
    close_: () => abort?.abort(),
  };
};

/**
 * Server-sent events (HTML, "Parsing an event stream"). `event` and `id` are not looked at: the objects say it themselves.
 */
const sse = http(async (get, receive) => {
  const { body } = /** @type {any} */ (await get('text/event-stream', { envelope: 1 }));
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let data = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    receive();
    // A CR at the end of a chunk may be half of a line end: it waits for the next chunk.
    const all = (rest + value).split(/\r?\n|\r(?!$)/);
    rest = /** @type {string} */ (all.pop());
    for (const line of all) {
      const [, field, text] = /** @type {string[]} */ (line.match(/^([^:]*):? ?(.*)/));
      if (field == 'data') data += '\n' + text;
      if (field == 'retry' && +text) receive({ op: 'bye', retry_ms: [+text, +text] });
      if (!line) {
        if (data > '\n') receive(JSON.parse(data));
        data = '';
      }
    }
  }
});

/** Long polling: pages, turned into the objects of a stream. */
const poll = http(async (get, receive) => {
  for (let query = /** @type {Wire} */ ({ wait: 1 }); ; ) {
    const response = await get('application/json', query);
    const page = await response.json();
    receive({ op: 'ready', conn: page.conn, heartbeat: 12 });
    // The first page answers the joins.
    if (!query.presence)
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
    [page.presence, page.gap, page.gaps, page.messages].flat().forEach(receive);
  }
});

/** @type {Record<string, Transport>} */
export const TRANSPORTS = { websocket, sse, poll };
