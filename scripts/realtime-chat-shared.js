// Shared by the chats of a page: the browser's storage, their connections, the title.

import { Realtime } from './realtime.js';

/** @type {Record<string, any>} The values, in case the browser denies storage. */
const memory = {};

/**
 * Reads or, with a value, writes an item in the browser's storage. Without storage the item lasts as long as the page.
 * @param {string} key
 * @param {string | number | null} [value]
 * @param {'localStorage' | 'sessionStorage'} [storage]
 */
export const keep = (key, value, storage = 'localStorage') => {
  key = 'realtime:' + key;
  if (value != null) memory[key] = String(value);
  try {
    const all = window[storage];
    return value == null ? (all[key] ?? memory[key]) : (all[key] = value);
  } catch { /* blocked or full */
    return memory[key];
  }
};

/** Asks the page's own server for a token. It rejects if there is no good answer. @type {(url: string) => Promise<string>} */
const fetchToken = async (url) => {
  const answer = await fetch(url, { cache: 'no-store' });
  if (!answer.ok) throw answer;
  return (await answer.text()).trim();
};

/** @type {Map<any, Realtime>} By what chats have in common that share one. */
const connections = new Map();
/** @type {Map<Realtime, number>} How many chats use each. */
const users = new Map();

/**
 * The connection of all chats with the same hub, transport and URL for tokens, until each has ended. One that has a token of its own
 * shares it with none.
 * @param {any} host the element
 */
export const connect = (host) => {
  const { src, transport } = host;
  const url = host.getAttribute('token-url');
  const key = host.token ? host : [src, transport, url].join();
  let realtime = connections.get(key);
  if (!realtime || realtime.state == 'closed') {
    const token = host.token ?? (url && (() => fetchToken(url)));
    realtime = new Realtime(src, { token, ...(transport && { transports: [transport] }) });
    connections.set(key, realtime);
  }
  users.set(realtime, (users.get(realtime) ?? 0) + 1);
  return realtime;
};

/**
 * Ends the use of a connection, once no message waits to be sent to the room.
 * @param {Realtime} realtime
 * @param {string} room
 */
export const disconnect = (realtime, room) => {
  if (realtime.pending(room)[0]) return setTimeout(disconnect, 500, realtime, room);
  const left = /** @type {number} */ (users.get(realtime)) - 1;
  users.set(realtime, left);
  if (!left) realtime.close();
};

let all = 0; // unread messages in the chats of the page

/** Changes the number in the page's title. @param {number} more */
export const entitle = (more) => {
  if (!more) return;
  all += more;
  document.title = (all ? `(${all}) ` : '') + document.title.replace(/^\(\d+\) /, '');
};
