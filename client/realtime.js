/**
 * Live rooms over WebSocket, server-sent events or long polling, whichever gets through; one connection for all tabs.
 *
 *     import { Realtime } from '/rt/-/realtime.js'
 *     const lobby = new Realtime('/rt/').subscribe('lobby', { last: 20 })
 *     lobby.addEventListener('message', ({ detail }) => console.log(detail.data))
 *     await lobby.publish({ text: 'hi' })
 *
 * Nothing is lost and nothing comes twice: each subscription keeps a cursor and drops what is at or before it, and what
 * could not be kept is announced as `gap`.
 *
 * From the wire up: a transport (`websocket`, `sse`, `poll`) carries objects; `connect` keeps one open; `share` lets one tab
 * do that for all; `Realtime` is what each tab has, and `Subscription` one reader of one room. Names that end in an underscore are private.
 *
 * @module
 */
import { ask, extend, problem } from './ask.js';
import { after, connect, pause, random, whoAmI } from './connection.js';
import { onAbort, share } from './tabs.js';

/**
 * @template [Data=any] Text, any JSON, or `{base64, type}` for bytes.
 * @typedef {{id: string, room: string, event?: string, data: Data, from?: User, key?: string, at: string}} Envelope A message: `id`
 *   is its place, which is a cursor; `event` is left out when it is `message`; `from` is its publisher, as the server knows them;
 *   `key` the publisher's own id for it; `at` a time as in RFC 3339.
 */

/**
 * @typedef {{id: string, name?: string}} User
 * @typedef {User & {state?: any}} Member One who is present, with what they show.
 * @typedef {{members: number, here: Map<string, Member>}} Presence How many are in a room, and who, by id.
 * @typedef {'idle' | 'connecting' | 'open' | 'waiting' | 'closed'} State
 * @typedef {'websocket' | 'sse' | 'poll'} TransportName
 *
 * @typedef {object} Options
 * @property {boolean} [share] Whether all tabs of this origin and URL have one connection; default true.
 * @property {TransportName[]} [transports] Those to try, in this order; default all three.
 * @property {number} [outbox] How many messages may wait; default 100; 0: none is kept, nor taken while not open.
 * @property {'0' | '1' | 'all'} [presence] Whom to be told of: nobody; those in joined rooms; names above 1000 members too.
 * @property {AbortSignal} [signal] Closes.
 *
 * @typedef {{status: number, title: string, detail?: string, field?: string, retry_ms?: number, key?: string, room?: string}} Refusal
 *   `status` is an HTTP status, or 499 for what was not sent; `title` says what it is, in a few words; `detail` what it was here;
 *   `field` is the one to blame; after `retry_ms` it may go well; `key` is the message's.
 *
 * @typedef {{key: string, room: string, data: any, event?: string, ttl?: number, at: number, sent?: [number, string | undefined]}}
 *   Pending A message in the outbox: `ttl` is in seconds, `at`, when it was published, in ms since 1970, and so is when it was
 *   first `sent`, with the id of the user who did.
 *
 * @typedef {Record<string, any>} Wire A command or an object of the protocol.
 *
 * @typedef {{statechange: Status, error: RealtimeError}} RealtimeEvents
 * @typedef {{state: State, transport: TransportName | '', retryAt: number, user?: User, conn?: string}} Status
 * @typedef {Promise<{id: string, at: string, key: string}> & {key: string}} Published
 * @typedef {{event?: string, key?: string, ttl?: number, signal?: AbortSignal}} PublishOptions
 * @typedef {{before?: string, since?: string, limit?: number, signal?: AbortSignal}} HistoryOptions
 */

/**
 * @template [Data=any]
 * @typedef {object} SubscriptionEvents What the events of a {@link Subscription} have for `detail`.
 * @property {Envelope<Data>} message Whatever its event.
 * @property {{room: string, event: string, data?: any, from?: User, at: string}} signal
 * @property {Presence & {room: string, enter?: Member[], update?: Member[], leave?: {id: string, why: string}[]}} presence
 * @property {{room: string, from?: string, to: string, reason: 'expired' | 'epoch' | 'slow'}} gap
 * @property {{room: string, cursor: string, members?: number, can?: string[]}} join What was missed comes next.
 * @property {Refusal} left The server ended it.
 * @property {RealtimeError} error It could not begin, or go on.
 */

/**
 * @template [Data=any]
 * @typedef {object} Reader
 * @property {string} room
 * @property {string | undefined} cursor The place of the last message.
 * @property {number} members How many are in the room.
 * @property {(data: Data, options?: PublishOptions) => Published} publish As {@link Realtime#publish}.
 * @property {(event: string, data?: any) => void} signal As {@link Realtime#signal}.
 * @property {(options?: HistoryOptions) => Promise<{messages: Envelope<Data>[], cursor: string, more: boolean}>} history As
 *   {@link Realtime#history}.
 * @property {(state: any) => void} setState Shows something else in presence: any JSON.
 * @property {() => void} close Ends it; with its last one the room is left.
 */

/**
 * @template [Data=any]
 * @typedef {Listening<SubscriptionEvents<Data>> & Reader<Data>} Subscription One reader of one room, from {@link Realtime#subscribe}.
 */

/**
 * @template Events
 * @typedef {Omit<EventTarget, 'addEventListener' | 'removeEventListener'> & Record<'addEventListener' | 'removeEventListener',
 *   <Type extends keyof Events>(type: Type, listener: ((event: CustomEvent<Events[Type]>) => void) | null, options?:
 *   AddEventListenerOptions | boolean) => void>} Listening An EventTarget with events of these types.
 */

/** @type {(target: any, type: string, detail: any) => boolean} */
const emit = (target, type, detail) => target.dispatchEvent(new CustomEvent(type, { detail }));

/** What comes of a value as JSON, now and whoever sends it. It throws where nothing can. @type {(value: any) => any} */
const copy = (value) => JSON.parse(JSON.stringify(value));
/** The same of what may be left out. @type {typeof copy} */
const plain = (value) => (value === undefined ? value : copy(value));

/** A state, if it is one. @type {typeof copy} */
const small = (state) => {
  if (size((state = plain(state))) > 1024) throw new RealtimeError({ status: 413, title: 'state too large' });
  return state;
};

/** In bytes, as JSON. */
const size = (/** @type {any} */ value) => new Blob([JSON.stringify(value)]).size;

/** In ms; it only goes forward while the page lives. */
const now = () => performance.timeOrigin + performance.now();

/** @typedef {Pending & {ref_?: number, undo_?: () => void, resolve_?: (answer: any) => void, reject_?: (reason: any) => void}} Message */

/** Why something was refused. */
export class RealtimeError extends /** @type {new (message: string) => Error & Refusal} */ (/** @type {unknown} */ (Error)) {
  /** @param {Wire} answer */
  constructor(answer) {
    super(answer.detail ?? answer.title ?? answer.status);
    Object.assign(this, answer);
  }
}

const NOT_SENT = { status: 499, title: 'not sent' };
const AGAIN = 3e4; // ms after which a message without an answer is sent again, under the same key
const GIVEN_UP = 24e4; // ms after which it is not: the server knows keys for five minutes

/** @type {Record<string, number[]>} Which of a URL's places in storage this page's clients have, however often this is loaded. */
const places = (/** @type {any} */ (globalThis)['realtime.v1'] ??= {});

/**
 * A hub's rooms.
 *
 * Events: `statechange` and `error` (a {@link RealtimeError}): there is no coming back, or a message or a state was refused.
 *
 * @template {Record<string, any>} [Rooms=Record<string, any>] What the rooms hold: `new Realtime<{orders: Order}>()`.
 */
export class Realtime extends /** @type {new () => Listening<RealtimeEvents>} */ (/** @type {unknown} */ (EventTarget)) {
  /** @type {State} */
  state = 'idle';
  /** @type {TransportName | ''} Empty while not open. */
  transport = '';
  /** When it will try again, in ms since 1970; 0 while not waiting. */
  retryAt = 0;
  /** @type {User | undefined} Whom the server takes us for. */
  user;
  /** @type {string | undefined} The connection, as the server named it; kept over a reload. */
  conn;
  /** @type {{message?: number, rooms?: number} | undefined} What the server takes: bytes of a message. Undefined where it does not say. */
  limits;
  /** @internal Which of the transports opened last: tried first after a reload. */
  used = 0;

  /**
   * Opens nothing, and looks at nothing, before it is used.
   * @param {string} [url] Resolved against the page's.
   * @param {Options} [options]
   */
  constructor(url = '/rt/', options = {}) {
    super();
    let limit = options.outbox ?? 100;
    const life = Object.assign(new AbortController(), { capture: true }); // freeze and resume do not bubble
    /** @type {Set<Subscription & {join_: () => void, take_: (object: Wire) => void}>} */
    const subscriptions = new Set();
    /** @type {Map<string, Presence>} */
    const rooms = new Map();
    /** @type {Set<number>} The changes of states that have no answer. */
    const changes = new Set();
    /** @type {Message[]} */
    let outbox = [];
    let hub = ''; // its URL
    let storage = /** @type {any} */ (0);
    let key = ''; // of what is stored
    let id = random(); // this tab's
    let place = 1;
    /** @type {ReturnType<typeof share> | undefined} */
    let team;
    let leader = 0;
    let told = '', verified = ''; // the last status; which leader, with which user, speaks for this page
    let undo = () => {};

    /** Looks at the page, once. */
    const load = () => {
      if (hub) return;
      const { href, origin } = new URL(url, /** @type {any} */ (location));
      hub = origin == location.origin ? href : extend(href, { anonymous: 1 });
      const taken = (places[hub] ??= []);
      while (taken[place]) place++;
      taken[place] = 1;
      key = 'realtime.v1' + hub + place;
      try {
        storage = sessionStorage;
        let kept;
        [this.conn, this.used, kept, id] = JSON.parse(storage[key]);
        outbox = kept.filter((/** @type {any} */ it) => it.key && it.room);
      } catch {}
      const on = (/** @type {string} */ types, /** @type {() => any} */ then) => types.split(' ').forEach((type) => addEventListener(type, then, life));
      on('pagehide freeze', () => stop('idle'));
      on('pageshow resume', () => (subscriptions.size || outbox[0]) && start());
      on('online offline visibilitychange', () => self.document?.hidden || team?.send_({ op: 'check' }));
    };

    const start = () => {
      load();
      if (this.state != 'idle') return;
      rest('connecting');
      meet();
    };

    /** Joins the other tabs that have the same hub and ways. */
    const meet = (alone = options.share == false) => {
      leader = 0;
      team = share(
        `realtime.v1${hub}${options.transports ?? ''}`,
        alone,
        id,
        (tell) => connect(hub, options, this, tell, this.close),
        take,
        () => {
          this.conn = undefined;
          outbox = outbox.filter((message) => message.resolve_);
          return (id = random());
        },
      );
    };

    /** Hands the connection on. @param {State} state */
    const stop = (state) => {
      team?.close_();
      team = undefined;
      rest(state);
    };

    /** To the leader, if there is one that this page may use. @param {Wire} command */
    const send = (command) => leader && team?.send_(command);

    /** The one place where the state changes. @type {(status: Wire, from?: number) => void} */
    const become = (status, from = 0) => {
      const text = JSON.stringify(status);
      Object.assign(this, status);
      if (from != leader) {
        leader = from;
        for (const subscription of subscriptions) subscription.join_();
      }
      if (text == told) return;
      told = text;
      if (this.state == 'open') for (const message of outbox) message.ref_ = 0;
      pump();
      emit(this, 'statechange', status);
    };

    const rest = (/** @type {State} */ state) => become({ state, transport: '', retryAt: 0 });

    /** Asks whether a leader's connection speaks for this page's user. If not, this page has one of its own. */
    const verify = async (/** @type {string} */ theirs, /** @type {string} */ pair, own = /** @type {any} */ (team)) => {
      const mine = await whoAmI(hub).catch(() => 0);
      if (own != team || mine === 0) return;
      if (mine == theirs) {
        verified = pair;
        own.send_({ op: 'ask' });
      } else {
        own.send_({ op: 'check' }); // perhaps the user has changed, and the leader does not know yet
        own.close_();
        meet(true);
      }
    };

    /** What the leader tells: a status, or an object from the wire. @type {(object: Wire, from: number, own?: boolean) => any} */
    const take = (object, from, own) => {
      const { state, op, room, ref, members, here = [], enter, update = [], leave = [] } = object;
      if (state) {
        const theirs = object.user?.id ?? '';
        if (own || state != 'open' || verified == from + theirs) return become(object, from);
        leader = 0;
        return verify(theirs, from + theirs);
      }
      if (from != leader || (op == 'presence' && /** @type {any} */ (options.presence) == 0)) return;
      const message = ref && outbox.find((message) => message.ref_ == ref);
      if (message)
        if (object.retry_ms) {
          message.ref_ = random(); // keeps those behind it back
          retry(message, pause(object.retry_ms));
        } else settle(message, object);
      if (changes.delete(ref) && object.status) emit(this, 'error', new RealtimeError(object));
      for (const subscription of subscriptions) {
        if (subscription.room != room) continue;
        if (members != null) {
          const presence = this.presence(room);
          rooms.set(room, presence);
          presence.members = subscription.members = members;
          if (op == 'presence') {
            enter ?? presence.here.clear(); // a snapshot, or a number without names
            for (const member of [...here, ...(enter ?? []), ...update]) presence.here.set(member.id, member);
            for (const { id } of leave) presence.here.delete(id);
          }
          Object.assign(object, presence);
        }
        subscription.take_(object);
      }
    };

    /** Sends what may be sent now, and keeps the rest over a reload. */
    const pump = () => {
      for (const message of outbox) {
        const { key, room, data, event, ttl, sent } = message;
        const me = this.user?.id;
        // The server knows a key for some time, and of one user.
        if (sent && (sent[0] < now() - GIVEN_UP || (this.state == 'open' && sent[1] != me))) return settle(message, NOT_SENT); // which goes on
        if (this.state == 'open' && leader && !message.ref_ && this.pending(room)[0] == message) {
          const command = { op: 'publish', ref: (message.ref_ = random()), room, key, data, event, ttl, user: me };
          // The server ends a connection for a frame that is larger (PROTOCOL, "realtime.v1"); a message it refuses.
          if (size(command) > 2 * /** @type {any} */ (this.limits)?.message + 4e3)
            return settle(message, { status: 413, title: 'message too large' });
          message.sent ??= [now(), me];
          retry(message, AGAIN);
          send(command);
        }
      }
      try {
        storage[key] = JSON.stringify([this.conn, this.used, limit ? outbox : [], id]);
      } catch {}
    };

    /** Sends a message again if there is no answer by then. @type {(message: Message, ms: number) => void} */
    const retry = (message, ms, ref = message.ref_) => {
      setTimeout(() => {
        if (ref != message.ref_) return;
        message.ref_ = 0;
        pump();
      }, ms);
    };

    /** Tells what came of a message. @type {(message: Message, answer: Wire, quiet?: boolean) => void} */
    const settle = (message, answer, quiet) => {
      const { key, room, resolve_, reject_ } = message;
      message.undo_?.();
      outbox = outbox.filter((it) => it != message);
      pump();
      answer = { ...answer, key, room };
      if (!answer.status) return resolve_?.(answer);
      const error = new RealtimeError(answer);
      reject_?.(error);
      if (!quiet) emit(this, 'error', error);
    };

    /**
     * Begins to read a room. All its subscriptions are one member.
     * @template {keyof Rooms & string} Room
     * @param {Room} room
     * @param {{after?: string, last?: number | string, state?: any, signal?: AbortSignal}} [options] Begin with what comes `after` a
     *   cursor, or with so many of the `last` messages, or those of so long (`10m`); show a `state` in presence.
     * @returns {Subscription<Rooms[Room]>}
     */
    this.subscribe = (room, { after: cursor, last, state, signal } = {}) => {
      let waiting = 0; // for the answer to this join: it says where to begin, and nothing else is taken before
      let undo = () => {};
      state = small(state);
      const subscription = Object.assign(/** @type {Listening<SubscriptionEvents>} */ (/** @type {unknown} */ (new EventTarget())), {
        room,
        cursor,
        members: 0,
        publish: this.publish.bind(this, room),
        signal: this.signal.bind(this, room),
        history: this.history.bind(this, room),
        setState: (/** @type {any} */ shown) => {
          state = small(shown);
          const ref = random();
          changes.add(ref);
          send({ op: 'state', ref, room, state });
        },
        close: () => {
          if (!subscriptions.delete(subscription)) return;
          undo();
          for (const other of subscriptions) if (other.room == room) return;
          rooms.delete(room);
          send({ op: 'leave', room });
        },
        join_: () =>
          send({ op: 'join', room, ref: (waiting = random()), since: subscription.cursor, last, state, presence: options.presence ?? '1' }),
        take_: (/** @type {any} */ object) => {
          let { op: type = 'message', id, to = id, refs, again, cursor, status } = object;
          if (refs) {
            if (refs.includes(waiting)) waiting = 0;
            else if (waiting || !again) return;
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
      undo = onAbort(signal, subscription.close);
      return /** @type {any} */ (subscription);
    };

    /**
     * Publishes a message. While not open it waits in the outbox, and there outlives a reload.
     *
     * The promise, which has the message's `key`, is rejected with a {@link RealtimeError}: the server's, or 499: the outbox is
     * full, it has no answer four minutes after it was first tried, it was discarded, or this is closed.
     * @template {keyof Rooms & string} Room
     * @param {Room} room
     * @param {Rooms[Room]} data Text, any JSON, or `{base64, type}` for bytes.
     * @param {PublishOptions} [options] What comes again under the same `key` is not published again; after `ttl` seconds it is
     *   forgotten (0: at once); the `signal` discards it, and rejects with its reason.
     * @returns {Published}
     */
    this.publish = (room, data, { event, key = random() + '-' + random(), ttl, signal } = {}) => {
      /** @type {Message} */
      const message = { key, room, data, event, ttl, at: Date.now() };
      const promise = new Promise((resolve_, reject_) => Object.assign(message, { resolve_, reject_ }));
      promise.catch(() => 0); // whoever does not listen to it has the event
      start();
      try {
        message.data = copy(data);
        if (outbox.length < (limit || (this.state == 'open' ? 100 : 0))) {
          outbox.push(message);
          message.undo_ = onAbort(signal, () => {
            message.reject_?.(/** @type {AbortSignal} */ (signal).reason);
            settle(message, NOT_SENT, true);
          });
        } else settle(message, NOT_SENT);
      } catch (error) {
        settle(message, { status: 400, title: 'data: ' + error });
      }
      pump();
      return Object.assign(promise, { key });
    };

    /**
     * Sends what is stored nowhere: as well as it goes, and not at all while not open.
     * @param {string} room
     * @param {string} event
     * @param {any} [data]
     */
    this.signal = (room, event, data) => send({ op: 'signal', room, event, data: plain(data) });

    /**
     * Reads a page of old messages, oldest first: the newest ones, those `before` a cursor, or those `since` one. It is a request
     * of its own: rejected with a {@link RealtimeError}, or as `fetch` does.
     * @template {keyof Rooms & string} Room
     * @param {Room} room
     * @param {HistoryOptions} [options] `limit` is 50 by default, and at most 1000.
     * @returns {Promise<{messages: Envelope<Rooms[Room]>[], cursor: string, more: boolean}>}
     */
    this.history = async (room, { signal, ...query } = {}) => {
      load();
      const response = await ask(extend(hub, { room, ...query }), { signal });
      if (response.ok) return response.json();
      throw new RealtimeError(await problem(response));
    };

    /** Who is in a room that is subscribed to; above 1000 members the number alone, but see {@link Options}. @type {(room: string) => Presence} */
    this.presence = (room) => rooms.get(room) ?? { members: 0, here: new Map() };

    /** What is still to be sent to a room, oldest first. @type {(room: string) => Pending[]} */
    this.pending = (room) => {
      load();
      return outbox.filter((message) => message.room == room);
    };

    /** Drops a message from the outbox; its promise is rejected. It may have been sent already. @type {(key: string) => void} */
    this.discard = (key) => {
      for (const message of outbox) if (message.key == key) settle(message, NOT_SENT, true);
    };

    /** Ends for good; what waits is rejected. @param {Wire} [error] Why, if not by choice. */
    this.close = (error) => {
      if (this.state == 'closed') return;
      life.abort();
      undo();
      stop('closed');
      limit = -1;
      const answer = { ...NOT_SENT, ...error };
      for (const message of outbox) settle(message, answer, true);
      if (hub) places[hub][place] = 0;
      if (!error) return;
      const reason = new RealtimeError(answer);
      for (const subscription of subscriptions) {
        subscription.close();
        emit(subscription, 'error', reason);
      }
      emit(this, 'error', reason);
    };

    undo = onAbort(options.signal, () => this.close());
  }
}
