/**
 * The ways to a hub: `websocket`, `sse` and `poll`, three of one shape. The last two are loaded where they are needed.
 *
 * @module
 */

/**
 * @typedef {import('./realtime.js').Wire} Wire
 * @typedef {import('./realtime.js').TransportName} TransportName
 * @typedef {(code: number, wait?: number) => void} End Takes a close code, an HTTP status, 0 where the network is to blame,
 *   or 1 for silence; and for how many ms not to come back.
 *
 * @typedef {object} Joined What the connection knows of a room, for all tabs.
 * @property {Set<number>} tabs_ Who is in it.
 * @property {Map<number, number | string | undefined>} joins_ The joins that have no answer yet, and the `last` of each.
 * @property {number[]} [asked_] Those of them that the one on the wire stands for.
 * @property {number} [ref_] That one's own.
 * @property {number | string} [last_] What it wants to begin with.
 * @property {string} [at_] Up to here all tabs have what they need.
 * @property {any} [state_] What is shown in presence.
 * @property {object} [link_] The transport that has joined it.
 *
 * @typedef {(query?: Wire) => string} Address The hub's URL, with parameters.
 *
 * @typedef {object} Open
 * @property {(command: Wire, text: string) => any} send_ Takes a command, as an object and as its JSON.
 * @property {() => void} close_
 * @property {() => any} [ping_] Asks for a sign of life.
 *
 * @typedef {(address: Address, rooms: Map<string, Joined>, receive: (object: any) => void, end: End) => Open} Transport
 *   Opens one. It calls `receive` with each object, or an empty one for a sign of life, and `end` once. One without `ping_`
 *   joins the rooms itself.
 */

/** @type {Transport} */
const websocket = (address, rooms, receive, end) => {
  const socket = new WebSocket(address().replace('http', 'ws'), 'realtime.v1');
  const send = (/** @type {string} */ text) => socket.readyState == 1 && socket.send(text);
  socket.onmessage = ({ data }) => {
    try {
      for (const line of data.split('\n')) receive(line ? JSON.parse(line) : {});
    } catch {
      end(0);
    }
  };
  socket.onclose = ({ code }) => end(code);
  return { send_: (_, text) => send(text), ping_: () => send('\n'), close_: () => socket.close() };
};

/** @type {TransportName[]} */
export const TRANSPORTS = ['websocket', 'sse', 'poll'];

/**
 * In a release the hub has the script that is loaded later, so that a copy of realtime.js needs no other file beside it.
 * @type {(name: TransportName, hub: string) => Promise<Transport>}
 */
export const load = async (name, hub) => {
  if (name == 'websocket') return websocket;
  // @ts-ignore: its path below the hub
  return (import.meta.http ? await import(/* @vite-ignore */ /* webpackIgnore: true */ new URL(import.meta.http, hub).href) : await import('./realtime-http.js'))[name];
};
