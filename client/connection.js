/**
 * The one connection of all tabs.
 *
 * @module
 */
import { TRANSPORTS, extend } from './transports.js';

/**
 * @typedef {import('./realtime.js').Wire} Wire
 * @typedef {import('./realtime.js').Options} Options
 * @typedef {import('./realtime.js').TransportName} TransportName
 * @typedef {import('./transports.js').Address} Address
 * @typedef {import('./transports.js').End} End
 * @typedef {import('./transports.js').Joined} Joined
 * @typedef {import('./transports.js').Transport} Transport
 */

export const random = () => Math.ceil(Math.random() * 1e15);

/** Whether a cursor lies after another. There is no order between epochs, and none lies before all. @type {(a?: string, b?: string) => boolean} */
export const after = (a = '', b = '', [epoch, offset] = a.split('.'), [other, place] = b.split('.')) =>
  epoch != other || +offset > +place;

/**
 * Keeps one transport open, for all tabs.
 * @param {string} url
 * @param {Options} options
 * @param {Wire} memory What outlives a connection: `conn`, `user`, and which transport was `used`.
 * @param {(object: Wire) => void} tell Is told the state, whenever it may have changed, and each object.
 * @param {(error: Wire) => void} fail Is told, once, that there is no coming back.
 * @returns {(command: Wire, tab?: number) => void} Takes a tab's command, this one's if none is named. One that can't be sent
 *   now is sent by its tab again.
 */
export const connect = (url, { transports = /** @type {TransportName[]} */ (Object.keys(TRANSPORTS)), presence = '1' }, memory, tell, fail) => {
  /** @type {Map<string, Joined>} */
  const rooms = new Map();
  /** @type {Partial<ReturnType<Transport>>} */
  let transport = {};
  /** @type {any} */
  let ready; // as it came; nothing while not open
  /** @type {number[] | false | undefined} */
  let slot; // when to come back, as the server says
  /** @type {any} */
  let watchdog;
  let index = memory.used;
  let attempt = 0; // how often it had to wait since a connection lasted
  let serial = 0;
  let retryAt = 0;

  /** What belongs to a connection ends with it. @type {(then: (...a: any[]) => void, own?: number) => (...a: any[]) => void} */
  const mine = (then, own = serial) => (...a) => own == serial && then(...a);
  const later = (/** @type {() => void} */ then, ms = 0) => setTimeout(mine(then), ms);
  /** Ends the connection after so long without a sign of life; it is asked for one first, if it can be. */
  const watch = (/** @type {number} */ ms, /** @type {(() => any) | void} */ ping) => {
    clearTimeout(watchdog);
    if (ms) watchdog = later(() => (ping ? watch(1e4, ping()) : end(1)), ms);
  };

  const report = () =>
    tell({
      state: ready ? 'open' : retryAt ? 'waiting' : 'connecting',
      transport: ready ? transports[index] : '',
      retryAt,
      user: memory.user,
      conn: memory.conn,
    });

  const close = () => {
    serial++;
    transport.close_?.();
    transport = {};
    ready = 0;
  };

  const open = () => {
    close();
    slot = false;
    retryAt = 0;
    report();
    watch(4e3);
    try {
      transport = TRANSPORTS[transports[index]](address, mine(receive), mine(end), rooms);
    } catch {
      end(1);
    }
  };

  const better = () => {
    index = 0;
    open();
  };

  /** The hub's URL with parameters, and with the rooms where they are to be in it. @type {Address} */
  const address = (named, query) => {
    const since = [];
    let last;
    if (named)
      for (const [room, { at_, last_ }] of rooms)
        if (last_) last = last_;
        else if (at_) since.push(encodeURIComponent(room) + '=' + at_);
    return extend(url, {
      conn: memory.conn,
      presence,
      room: named && [...rooms.keys()],
      since: since.join(),
      last,
      ...query,
    });
  };

  /** Joins, or moves the server's place in a room: only ever back, since other tabs may be there. */
  const join = (/** @type {Joined} */ room, /** @type {string} */ name) => {
    const { last_ } = room;
    transport.send_?.({ op: 'join', room: name, ref: room.ref_, since: last_ ? undefined : room.at_, last: last_, state: room.state_ });
  };

  const receive = (/** @type {Wire} */ object = {}) => {
    const { op, ref, id, to, cursor, room: name } = object;
    const room = rooms.get(name);
    if (op == 'bye') slot = object.retry_ms;
    if (op == 'ready') {
      if (!ready) {
        later(() => (attempt = 0), 1e4);
        if (index) later(better, 3e5);
        if (transport.ping_) rooms.forEach(join);
      }
      ready = object;
      slot = false; // the `retry` that begins a stream is for those who do not choose for themselves
      memory.conn = object.conn ?? memory.conn;
      memory.user = object.user;
      memory.used = index;
      report();
    }
    if (ready) watch(ready.heartbeat * (transport.ping_ ? 1e3 : 2500), transport.ping_);
    if (room && (ref ? ref == room.ref_ : op == 'ok' && cursor)) {
      const { at_, last_, joins_, state_ } = room;
      if (cursor) {
        room.last_ = 0;
        // Who wished for little made the server skip what others are still to get.
        if (at_ && last_ && after(cursor, at_)) return join(room, name);
        if (after(at_, cursor)) room.at_ = cursor;
        if (state_ && !transport.ping_) transport.send_?.({ op: 'state', room: name, state: state_ });
      }
      object.refs = [...joins_];
      room.joins_ = new Set();
    } else if (room && !room.joins_.size) room.at_ = (op ? to : id) ?? room.at_;
    tell(object);
  };

  /** @type {End} */
  const end = (code, wait) => {
    const opened = ready;
    close();
    code %= 4e3;
    if (/^40[01346]|413|1009/.test(/** @type {any} */ (code))) return fail({ status: code });
    if (!slot && (code < 500 || code == 1006) && (opened ? attempt : code % 429)) {
      index = (index + 1) % transports.length;
      if (index) {
        attempt = 0;
        return open();
      }
    }
    slot ||= wait ? [wait, wait] : code == 1012 && [500, 3e3];
    const [from, to] = slot || [0, Math.min(3e4, 500 * 2 ** attempt++)];
    wait = from + Math.random() * (to - from);
    retryAt = Date.now() + wait;
    later(open, wait);
    report();
  };

  /** @type {ReturnType<typeof connect>} */
  const relay = (command, tab = 0) => {
    const { op, room: name, since, last, state } = command;
    /** @type {Joined} */
    const room = rooms.get(name) ?? { tabs_: new Set(), joins_: new Set() };
    room.state_ = state ?? room.state_;
    if (op == 'open') {
      if (retryAt ? !slot : index && command.online) better();
      else if (ready && transport.ping_) watch(4e3, transport.ping_());
      report();
    } else if (op == 'bye') {
      if (!tab) close();
      else setTimeout(() => rooms.forEach((_, room) => relay({ op: 'leave', room }, tab)), 5e3);
    } else if (op == 'join') {
      rooms.set(name, room);
      room.tabs_.add(tab);
      room.joins_.add((room.ref_ = command.ref));
      if (!since) room.last_ = /** @type {any} */ (room.last_) > (last ?? 0) ? room.last_ : last;
      else if (after(room.at_, since)) room.at_ = since;
      join(room, name);
    } else {
      if (op == 'leave') {
        room.tabs_.delete(tab);
        if (room.tabs_.size) return;
        rooms.delete(name);
      }
      transport.send_?.(command);
    }
  };

  later(open);
  return relay;
};
