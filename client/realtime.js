/**
 * Live rooms over WebSocket, server-sent events or long polling, whichever gets through; one connection for all tabs.
 *
 *     import { Realtime } from '/rt/-/realtime.js'
 *
 *     const lobby = new Realtime('/rt/').subscribe('lobby', { last: 20 })
 *     lobby.addEventListener('message', ({ detail }) => console.log(detail.data))
 *     await lobby.publish({ text: 'hi' })
 *
 * Nothing is lost and nothing comes twice: each subscription keeps a cursor and drops what is at or before it, and what
 * could not be kept is announced as `gap`.
 *
 * From the wire up: a transport (`websocket`, `sse`, `poll`) carries objects; `connect` keeps one open for all tabs;
 * `Realtime` is what each tab has, and `Subscription` one reader of one room. Names that end in an underscore are private.
 *
 * @module
 */
import { after, connect, random } from './connection.js';
import { ask, extend } from './transports.js';

/**
 * @typedef {object} Envelope A message.
 * @property {string} id Its place, `epoch.offset`, which is a cursor.
 * @property {string} room
 * @property {string} [event] Left out when it is `message`.
 * @property {any} data Text, any JSON, or `{base64, type}` for bytes.
 * @property {{id: string, name?: string}} [from] The publisher, as the server knows him.
 * @property {string} [key] The publisher's own id for it.
 * @property {string} at When, as in RFC 3339.
 *
 * @typedef {{id: string, name?: string, state?: any}} Member One who is present, with what he shows.
 * @typedef {{members: number, here: Map<string, Member>}} Presence How many are in a room, and who, by id.
 * @typedef {'idle' | 'connecting' | 'open' | 'waiting' | 'closed'} State
 * @typedef {'websocket' | 'sse' | 'poll'} TransportName
 *
 * @typedef {object} Options
 * @property {boolean} [share] Whether all tabs of this origin and URL have one connection; default true.
 * @property {TransportName[]} [transports] Those to try, in this order; default all three.
 * @property {number} [outbox] How many messages may wait; default 100; 0: none is kept, nor taken while not open.
 * @property {number} [window] How many messages of a room may be on their way at once; default 1, which keeps their order
 *   whatever happens.
 * @property {'0' | '1' | 'all'} [presence] Whom to be told of: nobody; those in joined rooms (the default); the names in
 *   rooms above 1000 members too.
 * @property {AbortSignal} [signal] Closes.
 *
 * @typedef {object} Refusal
 * @property {number} status An HTTP status; 499 for what was not sent.
 * @property {string} title What it is, in a few words.
 * @property {string} [detail] What it was here.
 * @property {string} [field] The field that is to blame.
 * @property {number} [retry_ms] After how many ms it may go well.
 * @property {string} [key] The message's.
 * @property {string} [room]
 *
 * @typedef {object} Pending A message in the outbox.
 * @property {string} key
 * @property {string} room
 * @property {any} data
 * @property {string} [event]
 * @property {number} [ttl] In seconds.
 * @property {number} at When it was published, in ms since 1970.
 * @property {number} [sent] When it was first tried, likewise.
 *
 * @typedef {Record<string, any>} Wire A command or an object of the protocol.
 *
 * @typedef {object} Reader
 * @property {string} room
 * @property {string | undefined} cursor The place of the last message.
 * @property {number} members How many are in the room.
 * @property {Realtime['publish'] extends (room: string, ...a: infer A) => infer R ? (...a: A) => R : never} publish As {@link Realtime#publish}.
 * @property {(event: string, data?: any) => void} signal As {@link Realtime#signal}.
 * @property {Realtime['history'] extends (room: string, ...a: infer A) => infer R ? (...a: A) => R : never} history As
 *   {@link Realtime#history}.
 * @property {(state: any) => void} setState Shows something else in presence: any JSON.
 * @property {() => void} close Ends it; with its last one the room is left.
 *
 * @typedef {Listening<'message' | 'signal' | 'presence' | 'gap' | 'join' | 'left' | 'error'>} Source
 *
 * @typedef {Source & Reader} Subscription One reader of one room, from {@link Realtime#subscribe}.
 *
 *   Events, whose detail is the object from the wire: `message` (an {@link Envelope}, whatever its event), `signal`,
 *   `presence` (with the whole {@link Presence}), `gap`, `join` (what was missed comes next), `left` (the server ended it),
 *   and `error` (a {@link RealtimeError}: it could not begin).
 */

/**
 * @template {string} Type
 * @typedef {{addEventListener: (type: Type, listener: (event: CustomEvent<any>) => void, options?: AddEventListenerOptions | boolean) => void}
 *   & EventTarget} Listening An EventTarget with events of these types.
 */

/** @type {(target: EventTarget, type: string, detail: any) => boolean} */
const emit = (target, type, detail) => target.dispatchEvent(new CustomEvent(type, { detail }));

/** @type {(signal: AbortSignal | undefined, then: () => void) => void} */
const onAbort = (signal, then) => (signal?.aborted ? then() : signal?.addEventListener('abort', () => then()));

/** @typedef {Pending & {ref?: number, resolve?: (answer: any) => void, reject?: (reason: any) => void}} Message */

/** Why something was refused. */
export class RealtimeError extends /** @type {new (message: string) => Error & Refusal} */ (/** @type {unknown} */ (Error)) {
  /** @param {Wire} answer */
  constructor(answer) {
    super(answer.detail ?? answer.title);
    Object.assign(this, answer);
  }
}

/** @type {Record<string, number[]>} As many as this page has clients of a URL. */
const clients = {};

/**
 * A hub's rooms.
 *
 * Events: `statechange` (its detail: `state`, `transport`, `retryAt`), and `error` (a {@link RealtimeError}) for what no
 * promise tells: there is no coming back, or a message of an earlier page could not be sent.
 */
export class Realtime extends /** @type {new () => Listening<'statechange' | 'error'>} */ (EventTarget) {
  /** @type {State} */
  state = 'idle';
  /** @type {TransportName | ''} Empty while not open. */
  transport = '';
  /** When it will try again, in ms since 1970; 0 while not waiting. */
  retryAt = 0;
  /** @type {{id: string, name?: string} | undefined} Whom the server takes us for. */
  user;
  /** @type {string | undefined} The connection, as the server named it; kept over a reload. */
  conn;
  /** @internal Which of the transports opened last: tried first after a reload. */
  used = 0;

  /**
   * Opens nothing before it is used.
   * @param {string} [url] Resolved against the page's.
   * @param {Options} [options]
   */
  constructor(url = '/rt/', options = {}) {
    super();
    const hub = new URL(url, location.href).href;
    let limit = options.outbox ?? 100;
    const name = 'realtime.v1' + hub;
    const key = name + (clients[hub] ??= []).push(0);
    const life = new AbortController();
    /** @type {Set<Subscription & {join_: () => void, take_: (object: Wire) => void}>} */
    const subscriptions = new Set();
    /** @type {Map<string, Presence>} */
    const rooms = new Map();
    /** @type {Message[]} */
    let outbox = [];
    /** @type {number | undefined} */
    let tab;
    /** @type {number | undefined} */
    let leader;
    /** @type {ReturnType<typeof connect> | undefined} */
    let link; // of whoever leads
    /** @type {BroadcastChannel | undefined} */
    let channel;
    /** @type {AbortController | undefined} */
    let turn;

    try {
      [this.conn, this.used, outbox] = JSON.parse(sessionStorage[key]);
    } catch {}

    const start = () => {
      if (this.state != 'idle') return;
      tab = random();
      rest('connecting');
      const lead = () => {
        const tell = (/** @type {Wire} */ object) => {
          channel?.postMessage({ object, tab });
          take(object, tab);
        };
        link = connect(hub, options, this, tell, this.close);
      };
      const { locks } = navigator;
      if (options.share == false || !(locks && self.BroadcastChannel)) return lead();
      channel = new BroadcastChannel(name);
      channel.onmessage = ({ data: { command, object, tab } }) => (command ? link?.(command, tab) : take(object, tab));
      const { signal } = (turn = new AbortController());
      // Who holds the lock leads, until its turn ends.
      locks
        .request(name, { signal }, () => {
          lead();
          return new Promise((/** @type {any} */ done) => onAbort(signal, done));
        })
        .catch(() => {});
      send({ op: 'open' });
    };

    /** Hands the connection on. @param {State} state */
    const stop = (state) => {
      send({ op: 'bye' });
      turn?.abort();
      channel?.close();
      link = channel = undefined;
      rest(state);
    };

    /** To whoever leads. @param {Wire} command */
    const send = (command) => (link ? link(command) : channel?.postMessage({ command, tab }));

    /** The one place where the state changes. @type {(status: Wire, from?: number) => void} */
    const become = (status, from) => {
      const changed = status.state != this.state || status.retryAt != this.retryAt;
      Object.assign(this, status);
      if (from != leader) {
        leader = from;
        for (const subscription of subscriptions) subscription.join_();
      }
      if (!changed) return;
      if (this.state == 'open') for (const message of outbox) message.ref = 0;
      pump();
      emit(this, 'statechange', status);
    };

    const rest = (/** @type {State} */ state) => become({ state, transport: '', retryAt: 0 });

    /** What the leader tells: a status, or an object from the wire. @type {(object: Wire, from?: number) => void} */
    const take = (object, from) => {
      if (object.state) return become(object, from);
      const { room, ref, members, here = [], enter, update = [], leave = [] } = object;
      const message = ref && outbox.find((message) => message.ref == ref);
      if (message)
        if (object.status == 429)
          setTimeout(() => {
            message.ref = 0;
            pump();
          }, object.retry_ms);
        else settle(message, object);
      if (members != null) {
        const presence = this.presence(room);
        presence.members = members;
        enter ?? presence.here.clear(); // a snapshot, or a number without names
        for (const member of [...here, ...(enter ?? []), ...update]) presence.here.set(member.id, member);
        for (const { id } of leave) presence.here.delete(id);
        object = { ...object, ...presence };
      }
      for (const subscription of subscriptions)
        if (subscription.room == room) {
          subscription.members = members ?? subscription.members;
          subscription.take_(object);
        }
    };

    /** Sends what may be sent now, and keeps the rest over a reload. */
    const pump = () => {
      if (this.state == 'open')
        for (const message of outbox) {
          const { key, room, data, event, ttl } = message;
          if (message.ref || this.pending(room).indexOf(message) >= (options.window ?? 1)) continue;
          const now = Date.now();
          // The server knows keys for five minutes.
          if (now - (message.sent ??= now) > 24e4) return settle(message, { status: 499, title: 'not sent' });
          message.ref = random();
          send({ op: 'publish', ref: message.ref, room, key, data, event, ttl });
        }
      try {
        sessionStorage[key] = JSON.stringify([this.conn, this.used, limit ? outbox : []]);
      } catch {}
    };

    const settle = (/** @type {Message} */ message, /** @type {Wire} */ answer) => {
      const { key, room, resolve, reject = (/** @type {any} */ error) => emit(this, 'error', error) } = message;
      this.discard(key);
      answer = { ...answer, key, room };
      answer.status ? reject(new RealtimeError(answer)) : resolve?.(answer);
    };

    /**
     * Begins to read a room. All its subscriptions are one member.
     * @param {string} room
     * @param {object} [options]
     * @param {string} [options.after] A cursor: begin with what comes after it.
     * @param {number | string} [options.last] Begin with so many of the last messages, or those of so long (`10m`).
     * @param {any} [options.state] What to show in presence.
     * @param {AbortSignal} [options.signal] Closes it.
     * @returns {Subscription}
     */
    this.subscribe = (room, { after: cursor, last, state, signal } = {}) => {
      let waiting = 0; // for the answer to this join: it says where to begin, and nothing else is taken before
      const subscription = Object.assign(/** @type {Source} */ (new EventTarget()), {
        room,
        cursor,
        members: 0,
        publish: this.publish.bind(this, room),
        signal: this.signal.bind(this, room),
        history: this.history.bind(this, room),
        setState: (/** @type {any} */ shown) => send({ op: 'state', room, state: (state = shown) }),
        close: () => {
          if (!subscriptions.delete(subscription)) return;
          for (const other of subscriptions) if (other.room == room) return;
          rooms.delete(room);
          send({ op: 'leave', room });
        },
        join_: () => send({ op: 'join', room, ref: (waiting = random()), since: subscription.cursor, last, state }),
        take_: (/** @type {any} */ object) => {
          let { op: type = 'message', id, to = id, refs, cursor, status, retry_ms } = object;
          if (refs) {
            if (!refs.includes(waiting)) return;
            if (retry_ms) return setTimeout(subscription.join_, retry_ms);
            waiting = 0;
            subscription.cursor ??= cursor;
            type = status ? 'error' : 'join';
            if (status) object = new RealtimeError(object);
          } else if (/ok|error/.test(type)) return;
          else if (to) {
            if (waiting || !after(to, subscription.cursor)) return;
            subscription.cursor = to;
          }
          if (/left|error/.test(type)) subscription.close();
          emit(subscription, type, object);
        },
      });
      subscriptions.add(subscription);
      start();
      subscription.join_();
      onAbort(signal, subscription.close);
      return subscription;
    };

    /**
     * Publishes a message. While not open it waits in the outbox, and there outlives a reload.
     *
     * The promise, which has the message's `key`, is rejected with a {@link RealtimeError}: the server's, or 499 where it
     * was not sent: the outbox is full, it has no answer four minutes after it was first tried, or this is closed.
     * @param {string} room
     * @param {any} data Text, any JSON, or `{base64, type}` for bytes.
     * @param {object} [options]
     * @param {string} [options.event] Default `message`.
     * @param {string} [options.key] An id of its own: what comes again under the same one is not published again.
     * @param {number} [options.ttl] After how many seconds it is forgotten; 0: at once.
     * @param {AbortSignal} [options.signal] Discards it, and rejects with the signal's reason.
     * @returns {Promise<{id: string, at: string, key: string}> & {key: string}}
     */
    this.publish = (room, data, { event, key = random() + '-' + random(), ttl, signal } = {}) => {
      /** @type {Message} */
      const message = { key, room, data, event, ttl, at: Date.now() };
      const promise = new Promise((resolve, reject) => Object.assign(message, { resolve, reject }));
      start();
      if (outbox.length >= (limit || (this.state == 'open' ? 100 : 0)))
        settle(message, { status: 499, title: 'not sent' });
      else outbox.push(message);
      onAbort(signal, () => {
        this.discard(key);
        message.reject?.(signal?.reason);
      });
      pump();
      return Object.assign(promise, { key });
    };

    /**
     * Sends what is stored nowhere: as well as it goes, and not at all while not open.
     * @param {string} room
     * @param {string} event
     * @param {any} [data]
     */
    this.signal = (room, event, data) => send({ op: 'signal', room, event, data });

    /**
     * Reads a page of old messages, oldest first: the newest ones, those `before` a cursor, or those `since` one. It is a
     * request of its own: rejected with a {@link RealtimeError}, or as `fetch` does.
     * @param {string} room
     * @param {object} [options]
     * @param {string} [options.before]
     * @param {string} [options.since]
     * @param {number} [options.limit] Default 50, at most 1000.
     * @param {AbortSignal} [options.signal]
     * @returns {Promise<{messages: Envelope[], cursor: string, more: boolean}>}
     */
    this.history = async (room, { signal, ...query } = {}) => {
      const response = await ask(extend(hub, { room, ...query }), { headers: { Accept: 'application/json' }, signal });
      const page = await response.json();
      if (!response.ok) throw new RealtimeError(page);
      return page;
    };

    /**
     * Who is in a room that is subscribed to. Of rooms above 1000 members only the number is known, but see {@link Options}.
     * @param {string} room
     * @returns {Presence}
     */
    this.presence = (room) => {
      const presence = rooms.get(room) ?? { members: 0, here: new Map() };
      rooms.set(room, presence);
      return presence;
    };

    /**
     * What is still to be sent to a room, oldest first.
     * @param {string} room
     * @returns {Pending[]}
     */
    this.pending = (room) => outbox.filter((message) => message.room == room);

    /**
     * Drops a message from the outbox. It may have been sent already.
     * @param {string} key
     */
    this.discard = (key) => {
      outbox = outbox.filter((message) => message.key != key);
      pump();
    };

    /** Ends for good; what waits is rejected. @param {Wire} [error] Why, if not by choice. */
    this.close = (error) => {
      if (this.state == 'closed') return;
      clients[hub].pop();
      life.abort();
      stop('closed');
      limit = -1;
      const answer = { status: 499, title: 'not sent', ...error };
      for (const message of outbox) settle(message, answer);
      if (error) emit(this, 'error', new RealtimeError(answer));
    };

    for (const type of ['online', 'visibilitychange', 'pagehide', 'pageshow'])
      addEventListener(
        type,
        (/** @type {any} */ { persisted }) => {
          if (type == 'pagehide') stop('idle');
          else if (type == 'pageshow') persisted && start();
          else if (!document.hidden) send({ op: 'open', online: type == 'online' });
        },
        life,
      );
    onAbort(options.signal, this.close);
  }
}
