/**
 * The one connection of all tabs.
 *
 * @module
 */
import { extend, head, retryAfter, userOf } from './ask.js';
import { TRANSPORTS, load } from './transports.js';

/**
 * @typedef {import('./realtime.js').Wire} Wire
 * @typedef {import('./realtime.js').Options} Options
 * @typedef {import('./transports.js').End} End
 * @typedef {import('./transports.js').Joined} Joined
 * @typedef {import('./transports.js').Open} Open
 *
 * @typedef {object} Link One transport that is open, or about to be.
 * @property {number} index_ Which one it is.
 * @property {boolean} asks_ Whether it can be asked for a sign of life: otherwise it joins by its URL.
 * @property {any} [ready_] As it came; nothing before.
 * @property {(command: Wire) => void} send_
 * @property {(ms: number, last?: boolean) => void} watch_ Ends it after so long without a sign of life; before the last time it
 *   is asked for one, if it can be.
 * @property {(then: () => void, ms: number) => void} later_ Does something in time, unless it is closed by then.
 * @property {() => void} close_
 */

export const random = () => Math.ceil(Math.random() * 1e15);

/** Whether a cursor lies after another. There is no order between epochs, and none lies before all. @type {(a?: string, b?: string) => boolean} */
export const after = (a = '', b = '', [epoch, offset] = a.split('.'), [other, place] = b.split('.')) =>
  epoch != other || +offset > +place;

/** For how many ms to wait that was told to wait: not as long as all others, and no longer than a timer can. */
export const pause = (/** @type {number} */ ms) => Math.min(ms * (1 + Math.random() / 4), 36e5);

/** Whom the server takes this page for: an id, or '' for nobody. It rejects if the server cannot be asked. */
export const whoAmI = async (/** @type {string} */ url) => userOf(await head(url, 4e3));

/**
 * Keeps one transport open, for all tabs.
 * @param {string} url
 * @param {Options} options
 * @param {Wire} memory What outlives a connection: `conn`, `user`, and which transport was `used`.
 * @param {(object: Wire) => void} tell Is told the state, whenever it may have changed, and each object.
 * @param {(error: Wire) => void} fail Is told, once, that there is no coming back.
 * @returns {(command: Wire, tab?: number) => any} Takes a tab's command, this one's if none is named. One that can't be sent
 *   now is sent by its tab again.
 */
export const connect = (url, { transports = TRANSPORTS, presence = '1' }, memory, tell, fail) => {
  /** @type {Map<string, Joined>} */
  const rooms = new Map();
  let largest = 0; // publication on its way, in characters
  let culprit = 0; // its ref
  /** @type {Link | undefined} */
  let link;
  /** @type {Link | undefined} A better one that is being tried. */
  let beside;
  /** @type {number[] | undefined} */
  let slot; // when to come back, as the server says
  /** @type {any} */
  let timer;
  let attempt = 0; // how often it had to wait since a connection lasted
  let down = 0; // how often in a row nothing at all could be reached
  let retryAt = 0;
  /** @type {boolean | undefined} */
  let closed;

  const report = (ready = link?.ready_) =>
    tell({
      state: ready ? 'open' : retryAt ? 'waiting' : 'connecting',
      transport: ready ? transports[/** @type {Link} */ (link).index_] : '',
      retryAt,
      user: memory.user,
      conn: memory.conn,
      limits: ready?.limits,
    });

  const address = (/** @type {Wire | void} */ query) => extend(url, { conn: memory.conn, presence, ...query });

  /** Opens a transport. @type {(index: number) => Link} */
  const dial = (index) => {
    /** @type {any} */
    let watchdog;
    /** @type {Open | undefined} */
    let transport;
    /** @type {boolean | undefined} */
    let over;
    /** @type {End} */
    const end = (code, wait) => {
      if (over) return;
      own.close_();
      ended(own, code, wait);
    };
    /** @type {Link} */
    const own = {
      index_: index,
      asks_: transports[index] == 'websocket',
      send_(command) {
        if (over) return;
        const text = JSON.stringify(command);
        if (command.op == 'publish' && text.length > largest) [largest, culprit] = [text.length, command.ref];
        transport?.send_(command, text);
        if (own.asks_) own.watch_(4e3 + text.length); // for the answer, however slowly the command goes
      },
      watch_(ms, last) {
        clearTimeout(watchdog);
        if (ms)
          watchdog = setTimeout(() => {
            if (last || !own.ready_ || !own.asks_) return end(1);
            transport?.ping_?.();
            own.watch_(4e3, true);
          }, ms);
      },
      later_: (then, ms) => setTimeout(() => over || then(), ms),
      close_() {
        over = true;
        clearTimeout(watchdog);
        transport?.close_();
      },
    };
    own.watch_(Math.min(16e3, 4e3 * 2 ** attempt));
    load(transports[index], url)
      .then((open) => over || (transport = open(address, rooms, (object) => over || receive(own, object), end)))
      .catch(() => end(0));
    return own;
  };

  const close = () => {
    clearTimeout(timer);
    link?.close_();
    beside?.close_();
    beside = undefined;
  };

  const open = (index = link?.index_ ?? 0) => {
    close();
    slot = undefined;
    retryAt = 0;
    if (closed) return;
    link = dial(index);
    report();
  };

  /** Tries a better transport beside the one that works. */
  const better = (index = 0) => {
    if (!beside && link?.ready_ && index < link.index_) beside = dial(index);
  };

  /** Joins a room, or moves the server's place in it: only ever back, since other tabs may be there. */
  const join = (/** @type {Joined} */ room, /** @type {string} */ name) => {
    const { joins_, at_, state_ } = room;
    const ref = (room.ref_ = random());
    const [last] = joins_.values(); // a number and a time cannot be had at once: one after the other
    room.last_ = last;
    room.asked_ = [...joins_.keys()].filter((ref) => joins_.get(ref) == last);
    if (!link || (link.asks_ && !link.ready_)) return;
    link.send_({ op: 'join', room: name, ref, since: last ? undefined : at_, last, state: state_ });
    if (link.asks_) link.later_(() => room.ref_ == ref && join(room, name), 1e4);
  };

  /** What came of a join. @type {(room: Joined, name: string, object: Wire) => void} */
  const joined = (room, name, object) => {
    const { at_, last_, asked_ = [], joins_ } = room;
    const { cursor, retry_ms, status } = object;
    if (retry_ms) {
      const ref = (room.ref_ = random());
      return link?.later_(() => room.ref_ == ref && join(room, name), pause(retry_ms));
    }
    const again = room.link_ != link || (status && !asked_[0]); // nobody has asked: it is about all
    room.ref_ = 0;
    room.last_ = undefined;
    room.asked_ = undefined;
    if (status) {
      if (again) rooms.delete(name);
    } else {
      room.link_ = link;
      if (at_ && last_ && after(cursor, at_)) {
        // Who wished for little made the server skip what others are still to get.
        for (const ref of asked_) joins_.set(ref, undefined);
        return join(room, name);
      }
      if (after(at_, cursor)) room.at_ = cursor;
    }
    for (const ref of asked_) joins_.delete(ref);
    tell({ ...object, refs: asked_, again });
    if (joins_.size && rooms.has(name)) join(room, name);
  };

  const receive = (/** @type {Link} */ from, /** @type {Wire} */ object) => {
    const { op, ref, id, to, cursor, room: name } = object;
    if (op == 'ready') {
      const first = !from.ready_;
      if (from == beside) {
        link?.close_();
        link = from;
        beside = undefined;
      }
      from.ready_ = object;
      slot = undefined; // the `retry` that begins a stream is for those who do not choose for themselves
      memory.conn = object.conn ?? memory.conn;
      memory.user = object.user;
      memory.used = from.index_;
      if (first) {
        from.later_(() => (attempt = 0), 1e4);
        from.later_(better, down ? 1e4 : 3e5);
        down = 0;
        if (from.asks_) rooms.forEach(join);
      }
      report();
    }
    if (from != link) return;
    if (op == 'bye') slot = object.retry_ms;
    if (from.ready_) from.watch_(from.ready_.heartbeat * (from.asks_ ? 1e3 : 2500));
    if (ref == culprit) largest = 0;
    const room = rooms.get(name);
    if (room) {
      if (ref ? ref == room.ref_ : op == 'ok' && cursor) return joined(room, name, object);
      if (!room.joins_.size) room.at_ = (op ? to : id) ?? room.at_;
    }
    tell(object);
  };

  /** What is to be done when a transport has ended. @type {(from: Link, code: number, wait?: number | null) => Promise<void>} */
  const ended = async (from, code, wait) => {
    const { index_: index, ready_: opened } = from;
    if (from == beside) {
      beside = undefined;
      better(index + 1);
      return link?.later_(better, 3e5);
    }
    if (code == 1009) {
      // One message was too large for what lies between.
      tell({ ref: culprit, status: 413, title: 'message too large' });
    }
    largest = 0;
    from.ready_ = 0;
    let status = code - 4e3;
    let rotate = opened && attempt && code != 1009;
    if (code == 1012) slot ??= [500, 3e3];
    if (slot || wait) rotate = false;
    else if (!opened) {
      // Why, a transport does not always see, and what lies between may say anything. So HEAD says it.
      const answer = /** @type {Response | undefined} */ (await head(address(), 4e3).catch(() => /** @type {any} */ (0)));
      if (link != from) return;
      status = answer?.status ?? 500;
      rotate = status < 500 && status != 429;
      wait = answer && retryAfter(answer);
      if (!rotate && ++down % 3 == 0) from.index_++; // what refuses HEAD may let others pass
    }
    if (status == 401 || status == 403) return fail({ status, title: 'refused' });
    if (rotate) from.index_++;
    from.index_ %= transports.length;
    if (rotate && from.index_) return open();
    const [least, most] = slot ?? (wait ? [wait, wait * 1.25] : [0, Math.min(3e4, 500 * 2 ** attempt++)]);
    const ms = Math.min(least + Math.random() * (most - least), 36e5);
    retryAt = Date.now() + ms;
    timer = setTimeout(open, ms);
    report();
  };

  /** Asks for a sign of life, and begins anew if the server takes this page for somebody else by now. */
  const check = (from = link) => {
    const id = memory.user?.id ?? '';
    if (!from?.ready_) return;
    if (from.asks_) from.watch_(1);
    whoAmI(address()).then((me) => me != id && from == link && open(), () => from.asks_ || from.watch_(1));
  };

  /** @type {ReturnType<typeof connect>} */
  const relay = (command, tab = 0) => {
    const { op, room: name, ref, since, last, state } = command;
    /** @type {Joined} */
    const room = rooms.get(name) ?? { tabs_: new Set(), joins_: new Map() };
    if (state !== undefined) room.state_ = state;
    if (op == 'ask') report();
    else if (op == 'check') {
      if (retryAt) slot || open(0);
      else {
        check();
        better();
      }
    } else if (op == 'bye') {
      if (tab) return setTimeout(() => rooms.forEach((_, room) => relay({ op: 'leave', room }, tab)), 5e3);
      closed = true;
      close();
    } else if (op == 'join') {
      rooms.set(name, room);
      room.tabs_.add(tab);
      room.joins_.set(ref, last);
      if (since && after(room.at_, since)) room.at_ = since;
      // Whoever needs to know who is there makes the connection ask.
      if (command.presence > presence) {
        presence = command.presence;
        open();
      }
      if (!room.ref_) join(room, name);
    } else {
      if (op == 'leave') {
        room.tabs_.delete(tab);
        if (room.tabs_.size || !rooms.delete(name)) return;
        room.ref_ = 0;
      }
      // What a tab says as one user is not said as another, who may have signed in while it was on its way here.
      if (link?.ready_ && (op != 'publish' || command.user == memory.user?.id)) link.send_(command);
    }
  };

  queueMicrotask(() => open(memory.used % transports.length || 0));
  return relay;
};
