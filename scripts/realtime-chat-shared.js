// What the chats of a page have together: what the browser keeps, their connections, the title.

import { Realtime } from './realtime.js';

/** @type {Record<string, any>} Where the browser keeps nothing for us. */
const memory = {};

/**
 * Reads, or with a value writes, what the browser keeps for us where it lets us; elsewhere it lasts as long as the page.
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

/** @type {Record<string, Realtime>} */
const connections = {};
/** @type {Map<Realtime, number>} How many chats use each. */
const users = new Map();

/**
 * The connection of all chats with the same hub and transport, until each has said goodbye.
 * @param {any} host the element
 */
export const connect = ({ src, transport }) => {
  const key = transport + src;
  if (connections[key]?.state == 'closed') delete connections[key];
  const realtime = (connections[key] ??= new Realtime(src, transport ? { transports: [transport] } : {}));
  users.set(realtime, (users.get(realtime) ?? 0) + 1);
  return realtime;
};

/**
 * Says goodbye, once there is nothing to be sent to the room.
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

/** Counts in the page's title. @param {number} more */
export const entitle = (more) => {
  if (!more) return;
  all += more;
  document.title = (all ? `(${all}) ` : '') + document.title.replace(/^\(\d+\) /, '');
};
