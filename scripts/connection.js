/**
 * The one connection of all tabs.
 *
 * @module
 */
import { extend, probe, retryAfter, whoAmI } from './ask.js';
import { between, pause } from './backoff.js';
import {
  FORBIDDEN,
  INTERNAL_SERVER_ERROR,
  MESSAGE_TOO_BIG,
  REFUSED,
  SERVICE_RESTART,
  TOO_MANY_REQUESTS,
  UNAUTHORIZED,
  UNTOLD,
} from './codes.js';
import { Link } from './link.js';
import { TOO_LARGE } from './outbox.js';
import { Room } from './room.js';
import { TRANSPORTS } from './transports.js';
import { after, random } from './wire.js';

/**
 * @typedef {import('./realtime.js').Wire} Wire
 * @typedef {import('./realtime.js').Realtime<any>} Realtime
 */

const STABLE = 10_000; // ms after which a connection has lasted
const BETTER = 300_000; // ms after which a better transport is tried again
const FIRST_WAIT = 500; // ms that the first wait takes at most; the maximum doubles with each attempt
const LONGEST_WAIT = 30_000;
/** @type {[number, number]} */
const RESTART = [500, 3_000]; // ms within which clients come back to a server that restarts
const GONE = 5_000; // ms after which the rooms of a tab that has ended are left
const BEAT = 1_000; // ms of silence, for each second of the server's heartbeat, after which a link is asked for a sign of life
const BEATS = 2_500; // the same for a link that cannot be asked: it ends

/** Keeps one transport open. */
export class Connection {
  /** @type {Map<string, Room>} */
  rooms_ = new Map();
  /** @type {Link | undefined} */
  link_;
  /** @type {Link | undefined} A better transport that is being tried. */
  beside_;
  /** @type {[number, number] | undefined} After how many ms to reconnect, at least and at most, as the server says. */
  slot_;
  /** @type {any} */
  timer_;
  /** How often it had to wait since a connection lasted. */
  attempt_ = 0;
  /** How often in a row nothing at all could be reached. */
  down_ = 0;
  retryAt_ = 0;
  /** How often in a row the token was refused. */
  refused_ = 0;
  /** @type {boolean | undefined} */
  over_;

  /**
   * @param {Realtime} page Has the hub and the options, keeps what outlives a connection (`conn`, `user`, the transport that was
   *   used), and is closed if the server refuses the connection for good.
   * @param {(object: Wire) => void} tell Is called with the state, whenever it may have changed, and with each object for tabs.
   */
  constructor(page, tell) {
    this.page_ = page;
    this.tell_ = tell;
    this.transports_ = page.transports_ ?? TRANSPORTS;
    this.presence_ = page.presence_;
    queueMicrotask(() => this.open_(page.index_ % this.transports_.length || 0));
  }

  /** Reports the state. */
  report_() {
    const { link_: link, retryAt_: retryAt } = this;
    const { user, conn } = this.page_;
    const ready = link?.ready_;
    this.tell_({
      state: ready ? 'open' : retryAt ? 'waiting' : 'connecting',
      transport: ready ? this.transports_[link.index_] : '',
      retryAt,
      user,
      conn,
      limits: ready?.limits,
    });
  }

  /** The hub's URL, with parameters. @param {Wire} [query] */
  address_(query) {
    return extend(this.page_.hub_, { conn: this.page_.conn, presence: this.presence_, ...query });
  }

  /** Ends what is open, or about to be. */
  close_() {
    clearTimeout(this.timer_);
    this.link_?.close_();
    this.beside_?.close_();
    this.beside_ = undefined;
  }

  /** Opens a transport in place of the last one. */
  open_(index = this.link_?.index_ ?? 0) {
    this.close_();
    this.slot_ = undefined;
    this.retryAt_ = 0;
    if (this.over_) return;
    this.link_ = new Link(this, index);
    this.report_();
  }

  /** Tries a better transport beside the one that works. */
  better_(index = 0) {
    const link = this.link_;
    if (!this.beside_ && link?.ready_ && index < link.index_) this.beside_ = new Link(this, index);
  }

  /** Takes an object from a link; an empty one is a sign of life. @param {Link} link @param {Wire} object */
  take_(link, object) {
    const { op, ref, id, to, cursor } = object;
    if (op == 'ready' || (op == 'ok' && object.conn)) this.ready_(link, object);
    if (link != this.link_) return;
    if (op == 'auth' && this.page_.token_) this.page_.renew_().then((token) => link.send_({ op, ref: random(), token }), () => {});
    if (op == 'bye') this.slot_ = object.retry_ms;
    if (link.ready_) link.watch_(link.ready_.heartbeat * (link.asks_ ? BEAT : BEATS));
    if (ref == link.culprit_) link.largest_ = 0;
    const room = this.rooms_.get(object.room);
    if (room) {
      if (ref ? ref == room.ref_ : op == 'ok' && cursor) return this.joined_(room, object);
      if (!room.joins_.size) room.at_ = (op ? to : id) ?? room.at_;
      if (op == 'left') this.rooms_.delete(object.room); // the server has ended it for all tabs
    }
    this.tell_(object);
  }

  /** Takes the answer to a join. @param {Room} room @param {Wire} object */
  joined_(room, object) {
    const { rooms_: rooms } = this;
    const link = /** @type {Link} */ (this.link_); // from which the answer comes
    const { asked_: asked, joins_: joins, at_: at, last_: last, name_: name } = room;
    const { cursor, retry_ms, status } = object;
    if (retry_ms) {
      room.ref_ = random();
      return room.again_(link, pause(retry_ms));
    }
    const again = room.link_ != link || (status && !asked[0]); // no tab has asked: the answer is about all of them
    room.ref_ = 0;
    room.last_ = undefined;
    room.asked_ = [];
    if (!status) {
      room.link_ = link;
      if (at && last && after(cursor, at)) {
        // The tabs that asked for a few messages have made the server skip what other tabs still need.
        for (const ref of asked) joins.set(ref, undefined);
        return room.join_(link);
      }
      if (after(at, cursor)) room.at_ = cursor;
    } else if (again) rooms.delete(name);
    for (const ref of asked) joins.delete(ref);
    this.tell_({ ...object, refs: asked, again });
    if (joins.size && rooms.has(name)) room.join_(link);
  }

  /** Takes the object that begins a link, with what the answer to a token has changed. Long polling has one in each page. @param {Link} link @param {Wire} object */
  ready_(link, object) {
    const { page_: page, down_: down } = this;
    const first = !link.ready_;
    if (link == this.beside_) {
      this.link_?.close_();
      this.link_ = link;
      this.beside_ = undefined;
    }
    link.ready_ = { ...link.ready_, ...object };
    this.slot_ = undefined; // the `retry` at the beginning of a stream is for clients that don't choose a time themselves
    page.conn = object.conn ?? page.conn;
    page.user = object.user;
    page.index_ = link.index_;
    if (first) {
      link.later_(STABLE, () => (this.attempt_ = 0));
      link.later_(down ? STABLE : BETTER, () => this.better_());
      this.down_ = this.refused_ = 0;
      if (link.asks_) for (const room of this.rooms_.values()) room.join_(this.link_);
    }
    this.report_();
  }

  /** Handles the end of a link. @param {Link} link @param {number} code @param {number} [wait] In ms, if the server has said it. */
  async end_(link, code, wait) {
    const { page_: page } = this;
    const { ready_: opened, index_: index } = link;
    if (link == this.beside_) {
      this.beside_ = undefined;
      this.better_(index + 1);
      return this.link_?.later_(BETTER, () => this.better_());
    }
    const large = code == MESSAGE_TOO_BIG; // too big for something between the client and the server
    if (large) this.tell_({ ref: link.culprit_, ...TOO_LARGE });
    link.ready_ = undefined;
    let status = code - REFUSED;
    let rotate = opened && this.attempt_ && !large && code % REFUSED != UNAUTHORIZED;
    if (code == SERVICE_RESTART) this.slot_ ??= RESTART;
    if (this.slot_ || wait) rotate = false;
    else if (!opened) {
      // A transport does not always see why it was refused, or a proxy may have answered. A HEAD gets the reason.
      const answer = code == UNTOLD ? undefined : await probe(page).catch(() => undefined);
      if (link != this.link_) return;
      status = answer?.status ?? INTERNAL_SERVER_ERROR;
      rotate = status < INTERNAL_SERVER_ERROR && status != TOO_MANY_REQUESTS && status != UNAUTHORIZED;
      wait = answer && retryAfter(answer);
      if (!rotate && ++this.down_ % 3 == 0) link.index_++; // a proxy that refuses HEAD may let other requests pass
    }
    // A client that was let in comes back, and one with a token tries a fresh one once.
    if (status == FORBIDDEN || (status == UNAUTHORIZED && !opened && (!page.token_ || this.refused_++)))
      return page.close({ status, title: 'refused' });
    if (rotate) link.index_++;
    link.index_ %= this.transports_.length;
    if (rotate && link.index_) return this.open_();
    const ms = this.slot_ ? between(...this.slot_) : wait ? pause(wait) : between(0, Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.attempt_++));
    this.retryAt_ = Date.now() + ms;
    this.timer_ = setTimeout(() => this.open_(), ms);
    this.report_();
  }

  /** Takes a command of a tab, by default of this one. If it cannot be sent now, its tab sends it again. @param {Wire} command */
  relay_(command, tab = 0) {
    const { op, room: name } = command;
    const { link_: link, rooms_: rooms } = this;
    const room = rooms.get(name);
    if (op == 'ask') this.report_();
    else if (op == 'check') this.check_();
    else if (op == 'bye') {
      if (tab) return setTimeout(() => rooms.forEach((_, room) => this.relay_({ op: 'leave', room }, tab)), GONE);
      this.over_ = true;
      this.close_();
    } else if (op == 'join') this.join_(command, tab);
    else {
      if (op == 'state' && room) room.state_ = command.state;
      if (op == 'leave') {
        room?.tabs_.delete(tab);
        if (!room || room.tabs_.size) return;
        rooms.delete(name);
        room.ref_ = 0;
      }
      // A message belongs to one user: it is not sent if another has signed in while it was on its way here.
      if (link?.ready_ && (op != 'publish' || command.user == this.page_.user?.id)) link.send_(command);
    }
  }

  /** Asks for a sign of life, and reconnects if the server now takes this page for another user. If it is waiting, it tries again at once. */
  check_() {
    const { link_: link, page_: page } = this;
    if (this.retryAt_) return this.slot_ || this.open_(0);
    const id = page.user?.id ?? '';
    if (link?.ready_) {
      if (link.asks_) link.watch_(1);
      whoAmI(page).then((me) => me != id && link == this.link_ && this.open_(), () => link.asks_ || link.watch_(1));
    }
    this.better_();
  }

  /** @param {Wire} command @param {number} tab */
  join_({ room: name, ref, since, last, state, presence }, tab) {
    const room = this.rooms_.get(name) ?? new Room(name);
    this.rooms_.set(name, room);
    if (state !== undefined) room.state_ = state;
    room.tabs_.add(tab);
    room.joins_.set(ref, last);
    if (since && after(room.at_, since)) room.at_ = since;
    if (presence > this.presence_) {
      // The connection asks for presence as soon as one tab needs it.
      this.presence_ = presence;
      this.open_();
    }
    if (!room.ref_) room.join_(this.link_);
  }
}
