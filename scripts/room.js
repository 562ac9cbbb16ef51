/**
 * A room, as the connection of all tabs knows it.
 *
 * @module
 */
import { random } from './wire.js';

/** @typedef {import('./link.js').Link} Link */

const AGAIN = 10_000; // ms after which a join that was not answered is sent again

export class Room {
  /** @type {Set<number>} The tabs that read it. */
  tabs_ = new Set();
  /** @type {Map<number, number | string | undefined>} The joins of tabs that are not answered yet, by ref: the `last` of each. */
  joins_ = new Map();
  /** @type {number[]} Those that the join on the wire is for. */
  asked_ = [];
  /** @type {number | undefined} The ref of the join on the wire; undefined or 0 if there is none. */
  ref_;
  /** @type {number | string | undefined} The `last` of that join. */
  last_;
  /** @type {string | undefined} All tabs have what they need up to this cursor. */
  at_;
  /** @type {any} What is shown in presence. */
  state_;
  /** @type {Link | undefined} The link that has joined it. */
  link_;

  /** @param {string} name */
  constructor(name) {
    this.name_ = name;
  }

  /** Joins the room, or moves the server's place in it: only ever back, since all tabs read from there. @param {Link | undefined} link */
  join_(link) {
    const { joins_: joins } = this;
    const [last] = joins.values(); // joins that differ in `last` go out one after the other
    this.ref_ = random();
    this.last_ = last;
    this.asked_ = [...joins.keys()].filter((ref) => joins.get(ref) == last);
    if (!link || (link.asks_ && !link.ready_)) return;
    link.send_({ op: 'join', room: this.name_, ref: this.ref_, since: last ? undefined : this.at_, last, state: this.state_ });
    if (link.asks_) this.again_(link, AGAIN);
  }

  /** Joins again after some ms, unless the join on the wire is answered by then. @param {Link} link @param {number} ms */
  again_(link, ms) {
    const ref = this.ref_;
    link.later_(ms, () => this.ref_ == ref && this.join_(link));
  }
}
