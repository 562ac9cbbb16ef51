/**
 * One transport from its opening to its end.
 *
 * @module
 */
import { BROKEN, SILENT, UNTOLD } from './codes.js';
import { load, websocket } from './transports.js';

/**
 * @typedef {import('./realtime.js').Wire} Wire
 * @typedef {import('./connection.js').Connection} Connection
 */

const ANSWER = 4_000; // ms in which an answer must come; one more for each byte that is sent
const OPENING = 16_000; // ms that opening takes at most; the first attempts have less

export class Link {
  /** @type {Wire | undefined} The object `ready`, once it has come. */
  ready_;
  /** The characters and the ref of the largest publication that has no answer yet. */
  largest_ = 0;
  culprit_ = 0;
  /** @type {boolean | undefined} */
  over_;
  /** @type {import('./transports.js').Open | undefined} */
  transport_;
  /** @type {any} */
  timer_;

  /** @param {Connection} connection @param {number} index Which of the connection's transports it is. */
  constructor(connection, index) {
    const name = connection.transports_[index];
    this.connection_ = connection;
    this.index_ = index;
    /** Whether it can be asked for a sign of life, and joins rooms with commands. Others name the rooms in their URL. */
    this.asks_ = name == 'websocket';
    this.open_(name).catch(() => this.end_(BROKEN));
  }

  /** @param {import('./realtime.js').TransportName} name */
  async open_(name) {
    const { page_: page, attempt_: attempt } = this.connection_;
    await page.renew_().catch(() => this.end_(UNTOLD));
    this.watch_(Math.min(OPENING, ANSWER * 2 ** attempt));
    const open = this.asks_ ? websocket : (await load(page.hub_))[name];
    if (!this.over_) this.transport_ = open(this);
  }

  /** @param {Wire} object */
  take_(object) {
    if (!this.over_) this.connection_.take_(this, object);
  }

  /** @param {number} code @param {number} [wait] */
  end_(code, wait) {
    if (this.over_) return;
    this.close_();
    this.connection_.end_(this, code, wait);
  }

  /** @param {Wire} command */
  send_(command) {
    if (this.over_) return;
    const text = JSON.stringify(command);
    if (command.op == 'publish' && text.length > this.largest_) {
      this.largest_ = text.length;
      this.culprit_ = command.ref;
    }
    this.transport_?.send_(command, text);
    if (this.asks_) this.watch_(ANSWER + text.length);
  }

  /** Ends the link after some ms without a sign of life. If it can, it asks for one first. @param {number} ms @param {boolean} [last] */
  watch_(ms, last) {
    clearTimeout(this.timer_);
    if (ms)
      this.timer_ = setTimeout(() => {
        if (last || !this.ready_ || !this.asks_) return this.end_(SILENT);
        this.transport_?.ping_?.();
        this.watch_(ANSWER, true);
      }, ms);
  }

  /** Calls a function after some ms, unless the link is closed by then. @param {number} ms @param {() => void} then */
  later_(ms, then) {
    setTimeout(() => this.over_ || then(), ms);
  }

  close_() {
    this.over_ = true;
    clearTimeout(this.timer_);
    this.transport_?.close_();
  }
}
