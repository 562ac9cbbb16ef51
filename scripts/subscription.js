/**
 * One reader of one room.
 *
 * @module
 */
import { CONTENT_TOO_LARGE } from './codes.js';
import { RealtimeError } from './errors.js';
import { emit } from './events.js';
import { after, plain, random, size } from './wire.js';

/**
 * @typedef {import('./realtime.js').Wire} Wire
 * @typedef {import('./realtime.js').Realtime<any>} Realtime
 */

const STATE_SIZE = 1_024; // bytes of a state, as JSON

/** A copy of a state, unless it is too large for the server. @type {(state: any) => any} */
const checkState = (state) => {
  if (size((state = plain(state))) > STATE_SIZE) throw new RealtimeError({ status: CONTENT_TOO_LARGE, title: 'state too large' });
  return state;
};

/** Its public methods are fields, so that they can be passed on by themselves: `return room.close`. */
export class RoomReader extends EventTarget {
  members = 0;
  /** @type {string[] | undefined} */
  can;
  /** @type {number | undefined} The ref of the join that has no answer yet; the answer says where to begin, and until then messages are ignored. */
  waiting_;
  /** @type {(() => void) | undefined} Removes the listener of its signal. */
  undo_;

  /** @param {Realtime} page @param {string} room @param {{after?: string, last?: number | string, state?: any}} options */
  constructor(page, room, { after: cursor, last, state }) {
    super();
    this.page_ = page;
    this.room = room;
    this.cursor = cursor;
    this.last_ = last;
    this.state_ = checkState(state);
    this.publish = page.publish.bind(page, room);
    this.signal = page.signal.bind(page, room);
    this.history = page.history.bind(page, room);
  }

  setState = (/** @type {any} */ state) => {
    const { page_: page, room } = this;
    const ref = random();
    this.state_ = state = checkState(state);
    page.changes_.add(ref);
    page.send_({ op: 'state', ref, room, state });
  };

  close = () => {
    const { page_: page, room } = this;
    if (!page.subscriptions_.delete(this)) return;
    this.undo_?.();
    for (const other of page.subscriptions_) if (other.room == room) return;
    page.rooms_.delete(room);
    page.send_({ op: 'leave', room });
  };

  join_() {
    const { room, cursor: since, last_: last, state_: state } = this;
    this.waiting_ = random();
    this.page_.send_({ op: 'join', room, ref: this.waiting_, since, last, state, presence: this.page_.presence_ });
  }

  /** Takes an object of the room. It ignores answers to the joins of other subscriptions, unless they are about all of them. @param {Wire} object */
  take_(object) {
    let { op: type = 'message', id, to = id, refs } = object;
    if (refs) {
      if (refs.includes(this.waiting_)) this.waiting_ = 0;
      else if (this.waiting_ || !object.again) return;
      this.cursor ??= object.cursor;
      type = object.status ? 'error' : 'join';
      if (object.status) object = new RealtimeError(object);
    } else if (type == 'ok' || type == 'error') return; // to another command
    else if (to) {
      if (this.waiting_ || !after(to, this.cursor)) return;
      this.cursor = to;
    }
    if (type == 'join' || type == 'can') this.can = object.can;
    if (object.status) this.close();
    emit(this, type, object);
  }
}
