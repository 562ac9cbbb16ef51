/**
 * The messages that a page has published and the server has not answered.
 *
 * @module
 */
import { pause } from './backoff.js';
import { CONTENT_TOO_LARGE, UNCONFIRMED } from './codes.js';
import { RealtimeError } from './errors.js';
import { emit, onAbort } from './events.js';
import { random, size } from './wire.js';

/**
 * @typedef {import('./realtime.js').Wire} Wire
 * @typedef {import('./realtime.js').Realtime<any>} Realtime
 * @typedef {import('./realtime.js').Pending} Pending
 *
 * @typedef {Pending & {ref?: number, undo_?: () => void, resolve_?: (answer: any) => void, reject_?: (reason: any) => void}} Message
 *   `ref` is that of the command on its way, 0 if there is none; `undo_` removes its signal's listener; the other two settle the
 *   promise of this page, and are missing if an earlier page has published it.
 */

/** A message that the client has given up. It may have been published nevertheless. */
export const GIVEN_UP = { status: UNCONFIRMED, title: 'given up' };

/** A message that the server would not read. */
export const TOO_LARGE = { status: CONTENT_TOO_LARGE, title: 'message too large' };

const WITHOUT = 100; // messages that are taken without an outbox while they can be sent at once
const AGAIN = 30_000; // ms after which a message without an answer is sent again, under the same key
const TOO_LATE = 240_000; // ms after which it is given up: the server knows keys for five minutes
const ENVELOPE = 4_000; // bytes of a frame that the server takes beside twice the size of a message

/** The time in ms. It only goes forward while the page lives. */
const now = () => performance.timeOrigin + performance.now();

export class Outbox {
  /** @type {Message[]} */
  messages_ = [];

  /** @param {Realtime} page @param {number} limit */
  constructor(page, limit) {
    this.page_ = page;
    this.limit_ = limit;
  }

  /** Takes a message, or gives it up if the outbox is full. @param {Message} message @param {AbortSignal} [signal] Discards it. */
  send_(message, signal) {
    if (this.messages_.length >= (this.limit_ || (this.page_.state == 'open' ? WITHOUT : 0))) return this.settle_(message, GIVEN_UP);
    this.messages_.push(message);
    message.undo_ = onAbort(signal, () => {
      message.reject_?.(/** @type {AbortSignal} */ (signal).reason);
      this.settle_(message, GIVEN_UP, true);
    });
    this.pump_();
  }

  /** The messages to a room, oldest first. @param {string} room */
  of_(room) {
    return this.messages_.filter((message) => message.room == room);
  }

  /** Sends the oldest message of each room; the next one follows after its answer. Stores all messages for the case of a reload. */
  pump_() {
    const { page_: page } = this;
    const open = page.state == 'open';
    const me = page.user?.id;
    for (const message of this.messages_) {
      const { key, room, data, event, ttl, sent } = message;
      // The server remembers a key for some time, and for one user.
      if (sent && (sent[0] < now() - TOO_LATE || (open && sent[1] != me))) return this.settle_(message, GIVEN_UP); // which goes on
      if (!open || !page.leader_ || message.ref || this.of_(room)[0] != message) continue;
      // Without a user, a key belongs to the connection on which it was first sent (PROTOCOL, "Once"). That may have been another tab's.
      const conn = (message.sent ??= [now(), me, page.conn])[2];
      const command = { op: 'publish', ref: (message.ref = random()), room, key, data, event, ttl, user: me, conn };
      // The server ends a connection for a frame that is larger (PROTOCOL, "realtime.v1"); a message it refuses.
      if (size(command) > 2 * /** @type {any} */ (page.limits)?.message + ENVELOPE) return this.settle_(message, TOO_LARGE);
      this.again_(message, AGAIN);
      page.send_(command);
    }
    try {
      page.storage_[/** @type {string} */ (page.place_)] = JSON.stringify([page.conn, page.index_, this.limit_ ? this.messages_ : [], page.tab_]);
    } catch {} // there is no storage, or no space in it
  }

  /** Sends a message again if it has no answer after some ms. @param {Message} message @param {number} ms */
  again_(message, ms) {
    const ref = message.ref;
    setTimeout(() => {
      if (ref != message.ref) return;
      message.ref = 0;
      this.pump_();
    }, ms);
  }

  /** Takes an answer, if it is one to a message. @param {Wire} answer */
  take_(answer) {
    const message = answer.ref && this.messages_.find((message) => message.ref == answer.ref);
    if (!message) return;
    if (!answer.retry_ms) return this.settle_(message, answer);
    message.ref = random(); // the messages after it have to wait
    this.again_(message, pause(answer.retry_ms));
  }

  /** Removes a message, and settles its promise. @param {Message} message @param {Wire} answer @param {boolean} [quiet] */
  settle_(message, answer, quiet) {
    message.undo_?.();
    this.messages_ = this.messages_.filter((other) => other != message);
    this.pump_();
    answer = { ...answer, key: message.key, room: message.room };
    if (!answer.status) return message.resolve_?.(answer);
    const error = new RealtimeError(answer);
    message.reject_?.(error);
    if (!quiet) emit(this.page_, 'error', error);
  }

  /** Gives up all messages, or those with a key. Their promises are rejected, without an event. @param {Wire} answer @param {string} [key] */
  discard_(answer, key) {
    for (const message of this.messages_) if (!key || message.key == key) this.settle_(message, answer, true);
  }
}
