/**
 * The ways to a hub: `websocket`, `sse` and `poll`, three of one shape. The last two are loaded where they are needed.
 *
 * @module
 */
import { BROKEN } from './codes.js';

/**
 * @typedef {import('./realtime.js').Wire} Wire
 * @typedef {import('./realtime.js').TransportName} TransportName
 * @typedef {import('./room.js').Room} Room
 *
 * @typedef {object} Open A transport.
 * @property {(command: Wire, text: string) => any} send_ Takes a command, as an object and as its JSON.
 * @property {() => void} close_
 * @property {() => any} [ping_] Asks for a sign of life. One without `ping_` joins the rooms itself.
 *
 * @typedef {(link: import('./link.js').Link) => Open} Transport Opens one. It calls the link's `take_` with each object, or an
 *   empty one for a sign of life, and `end_` once: with a close code or an HTTP status, BROKEN or SILENT, and how many ms
 *   to wait if the server has said it.
 */

const OPEN = 1; // WebSocket.OPEN

/** @type {Transport} */
export const websocket = (link) => {
  const { connection_: connection } = link;
  const { bearer_: bearer } = connection.page_;
  const protocols = ['realtime.v1'];
  if (bearer) protocols.push('bearer.' + btoa(bearer).replace(/=/g, '')); // of a token, base64url differs only at the end
  const socket = new WebSocket(connection.address_().replace('http', 'ws'), protocols);
  const send = (/** @type {string} */ text) => socket.readyState == OPEN && socket.send(text);
  socket.onmessage = ({ data }) => {
    try {
      for (const line of data.split('\n')) link.take_(line ? JSON.parse(line) : {});
    } catch {
      link.end_(BROKEN);
    }
  };
  socket.onclose = ({ code }) => link.end_(code);
  return { send_: (_, text) => send(text), ping_: () => send('\n'), close_: () => socket.close() };
};

/** @type {TransportName[]} */
export const TRANSPORTS = ['websocket', 'sse', 'poll'];

/**
 * Loads the other two. In a release the hub has the script that is loaded, so that a copy of realtime.js needs no other file beside it.
 * @type {(hub: string) => Promise<Record<string, Transport>>}
 */
export const load = (hub) =>
  // @ts-ignore: its path below the hub
  import.meta.http ? import(/* @vite-ignore */ /* webpackIgnore: true */ new URL(import.meta.http, hub).href) : import('./realtime-http.js');
