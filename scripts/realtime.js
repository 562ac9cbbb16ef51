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
 * From the wire up: a transport (`websocket`, `sse`, `poll`) carries objects; a `Link` watches one from its opening to its end; a
 * `Connection` keeps one open; a `Team` of tabs lets one of them do that for all; `Realtime` is what each tab has, with an `Outbox`
 * for what it publishes, and `Subscription` is one reader of one room.
 *
 * Private members end in an underscore, in every file: tools/assets shortens these names, to the same ones in all scripts, and
 * build/declarations.js leaves them out of the `.d.ts`. A file declares all private members that its objects have, as fields or in a
 * literal: two names that no file declares both may become the same. Names that others see (events, the protocol, what is stored,
 * what tabs tell each other) never end in one.
 *
 * @module
 */
import { extend, problem, whoAmI } from './ask.js';
import { BAD_REQUEST } from './codes.js';
import { RealtimeError } from './errors.js';
import { emit, onAbort } from './events.js';
import { GIVEN_UP, Outbox } from './outbox.js';
import { leavePlace, takePlace } from './place.js';
import { RoomReader } from './subscription.js';
import { Team } from './tabs.js';
import { copy, plain, random } from './wire.js';

export { RealtimeError };

/**
 * @template [Data=any] Text, any JSON, or `{base64, type}` for bytes.
 * @typedef {{id: string, room: string, event?: string, data: Data, from?: User, key?: string, at: string}} Envelope A message: `id`
 *   is its place, which is a cursor; `event` is left out when it is `message`; `from` is its publisher, as the server knows them;
 *   `key` the publisher's own id for it; `at` a time as in RFC 3339.
 */

/**
 * @typedef {{id: string, name?: string, guest?: boolean, backend?: boolean}} User
 * @typedef {User & {state?: any}} Member A member of a room, with the state that they show.
 * @typedef {{members: number, here: Map<string, Member>}} Presence How many are in a room, and who, by id.
 * @typedef {'idle' | 'connecting' | 'open' | 'waiting' | 'closed'} State
 * @typedef {'websocket' | 'sse' | 'poll'} TransportName
 *
 * @typedef {object} Options
 * @property {boolean} [share] Whether all tabs of this origin and URL have one connection; default true.
 * @property {TransportName[]} [transports] Those to try, in this order; default all three.
 * @property {number} [outbox] How many messages may wait; default 100. With 0, none is kept, and none is accepted while not open.
 * @property {'0' | '1' | 'all'} [presence] Which presence to receive: none; that of joined rooms; with names above 1000 members, too.
 * @property {string | (() => string | undefined | Promise<string | undefined>)} [token] Says who the user is: a token (JWT), or a
 *   function that returns a fresh one; nothing is a user who has none.
 * @property {AbortSignal} [signal] Closes.
 *
 * @typedef {{status: number, title: string, detail?: string, field?: string, retry_ms?: number, key?: string, room?: string}} Refusal
 *   `status` is an HTTP status, or 499 for a message that the client has given up without a confirmation; `title` names the kind of
 *   error; `detail` says what went wrong this time; `field` is the field that is wrong; after `retry_ms` a retry may succeed; `key`
 *   is the message's key.
 *
 * @typedef {{key: string, room: string, data: any, event?: string, ttl?: number, at: number, sent?: [number, string | undefined, string | undefined]}}
 *   Pending A message in the outbox: `ttl` is in seconds; `at` is when it was published, in ms since 1970; `sent` is when it was
 *   first sent, the id of the user who sent it, and the connection.
 *
 * @typedef {Record<string, any>} Wire A command or an object of the protocol.
 *
 * @typedef {{statechange: Status, error: RealtimeError}} RealtimeEvents
 * @typedef {{state: State, transport: TransportName | '', retryAt: number, user?: User, conn?: string}} Status
 * @typedef {Promise<{id: string, at: string, key: string}> & {key: string}} Published
 * @typedef {{after?: string, last?: number | string, state?: any, signal?: AbortSignal}} SubscribeOptions
 * @typedef {{event?: string, key?: string, ttl?: number, signal?: AbortSignal}} PublishOptions
 * @typedef {{before?: string, since?: string, limit?: number, signal?: AbortSignal}} HistoryOptions
 */

/**
 * @template [Data=any]
 * @typedef {{messages: Envelope<Data>[], cursor: string, more: boolean}} Page Messages, oldest first.
 */

/**
 * @template [Data=any]
 * @typedef {object} SubscriptionEvents The `detail` of each event of a {@link Subscription}.
 * @property {Envelope<Data>} message With any event's name.
 * @property {{room: string, event: string, data?: any, from?: User, at: string}} signal
 * @property {Presence & {room: string, enter?: Member[], update?: Member[], leave?: {id: string, why: string}[]}} presence
 * @property {{room: string, from?: string, to: string, reason: 'expired' | 'epoch' | 'slow'}} gap
 * @property {{room: string, cursor: string, members?: number, can?: string[]}} join The missed messages come next.
 * @property {{room: string, can: string[]}} can What the client may do has changed since the join.
 * @property {Refusal} left The server ended it.
 * @property {RealtimeError} error It could not begin, or go on.
 */

/**
 * @template [Data=any]
 * @typedef {object} Reader
 * @property {string} room
 * @property {string | undefined} cursor The place of the last message.
 * @property {number} members How many are in the room.
 * @property {string[] | undefined} can What the client may do beside reading, such as `publish`; undefined where the server does not say.
 * @property {(data: Data, options?: PublishOptions) => Published} publish As {@link Realtime#publish}.
 * @property {(event: string, data?: any) => void} signal As {@link Realtime#signal}.
 * @property {(options?: HistoryOptions) => Promise<Page<Data>>} history As {@link Realtime#history}.
 * @property {(state: any) => void} setState Shows another state in presence: any JSON.
 * @property {() => void} close Ends it. With its last subscription the client leaves the room.
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

const LATE = 30_000; // ms in which a request must be answered

/** Updates what is known about a room's members, and adds all of it to the object. @type {(presence: Presence, object: Wire) => void} */
const count = (presence, object) => {
  const { op, members, here, enter, update, leave = [] } = object;
  presence.members = members;
  if (op == 'presence') {
    if (!enter) presence.here.clear(); // a snapshot, or a number without names
    for (const member of [here, enter, update].flat()) if (member) presence.here.set(member.id, member);
    for (const { id } of leave) presence.here.delete(id);
  }
  Object.assign(object, presence);
};

/**
 * A hub's rooms.
 *
 * Events: `statechange`, and `error` (a {@link RealtimeError}) when a message or a state was refused or the client has given up.
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
  /** @type {User | undefined} The user that the server takes us for. */
  user;
  /** @type {string | undefined} The connection, as the server named it; kept over a reload. */
  conn;
  /** @type {{message?: number, rooms?: number} | undefined} What the server accepts, such as the bytes of a message; undefined where it does not say. */
  limits;

  /** Which of the transports opened last: tried first after a reload. */
  index_ = 0;
  /** This tab's id among those that share the hub. */
  tab_ = random();
  /** @type {Set<RoomReader>} */
  subscriptions_ = new Set();
  /** @type {Map<string, Presence>} */
  rooms_ = new Map();
  /** @type {Set<number>} The refs of changed states that have no answer yet. */
  changes_ = new Set();
  /** @type {string | undefined} The item in the storage for what outlives a reload; undefined before it is used. */
  place_;
  /** @type {any} The storage; none where the browser refuses it. */
  storage_;
  /** @type {Team | undefined} */
  team_;
  /** The leader that this page may use; 0: none. */
  leader_ = 0;
  /** @type {string | undefined} The last status, as JSON. */
  told_;
  /** @type {string | undefined} The leader, with its user, that may speak for this page. */
  verified_;
  /** @type {string | undefined} The token that it said last. */
  bearer_;
  /** Ends what listens to the page: freeze and resume do not bubble. */
  life_ = Object.assign(new AbortController(), { capture: true });
  /** @type {(() => void) | undefined} Removes the listener of its signal. */
  undo_;

  /**
   * It opens no connection, and touches no browser API, before it is used.
   * @param {string} [url] Resolved against the page's.
   * @param {Options} [options]
   */
  constructor(url = '/rt/', options = {}) {
    super();
    const { share, transports, outbox = 100, presence = '1', token, signal } = options;
    /** The hub's URL, which is resolved when it is used. */
    this.hub_ = url;
    this.alone_ = share == false;
    this.transports_ = transports;
    this.presence_ = presence;
    this.token_ = token;
    this.outbox_ = new Outbox(this, outbox);
    this.undo_ = onAbort(signal, () => this.close());
  }

  // The public methods are fields, so that they can be passed on by themselves.

  /**
   * Begins to read a room. All its subscriptions are one member.
   *
   * Options: `after` is a cursor to begin after; `last` is how many of the newest messages to begin with, or for how long back
   * (`10m`); `state` is shown in presence; the `signal` closes it.
   * @type {<Room extends keyof Rooms & string>(room: Room, options?: SubscribeOptions) => Subscription<Rooms[Room]>}
   */
  subscribe = (room, options = {}) => {
    const subscription = new RoomReader(this, room, options);
    this.subscriptions_.add(subscription);
    this.start_();
    subscription.join_();
    subscription.undo_ = onAbort(options.signal, subscription.close);
    return /** @type {any} */ (subscription);
  };

  /**
   * Publishes a message. While there is no connection it waits in the outbox, and outlives a reload there.
   *
   * The promise, which has the message's `key`, is rejected with a {@link RealtimeError}: the server's, or 499: the outbox is
   * full, there is no answer four minutes after the first attempt, the message was discarded, or this is closed. After 499 the
   * message may have been published nevertheless, unless it was never sent.
   *
   * The data is text, any JSON, or `{base64, type}` for bytes. Options: a second message with the same `key` is not published;
   * after `ttl` seconds the message expires (0: it is stored nowhere); the `signal` discards it, and rejects with its reason.
   * @type {<Room extends keyof Rooms & string>(room: Room, data: Rooms[Room], options?: PublishOptions) => Published}
   */
  publish = (room, data, { event, key = random() + '-' + random(), ttl, signal } = {}) => {
    /** @type {import('./outbox.js').Message} */
    const message = { key, room, data, event, ttl, at: Date.now() };
    const promise = new Promise((resolve_, reject_) => Object.assign(message, { resolve_, reject_ }));
    promise.catch(() => {}); // callers that ignore the promise have the event
    this.start_();
    try {
      message.data = copy(data);
      this.outbox_.send_(message, signal);
    } catch (error) {
      this.outbox_.settle_(message, { status: BAD_REQUEST, title: 'data: ' + error });
    }
    return Object.assign(promise, { key });
  };

  /** Sends something that is stored nowhere. It may get lost, and is dropped while there is no connection. @type {(room: string, event: string, data?: any) => any} */
  signal = (room, event, data) => this.send_({ op: 'signal', room, event, data: plain(data) });

  /**
   * Reads a page of old messages, oldest first: the newest ones, those `before` a cursor, or those `since` one. It makes a
   * request of its own, and rejects with a {@link RealtimeError}, or as `fetch` does. The `limit` is 50 by default, and at most 1000.
   * @type {<Room extends keyof Rooms & string>(room: Room, options?: HistoryOptions) => Promise<Page<Rooms[Room]>>}
   */
  history = async (room, { signal, ...query } = {}) => {
    this.load_();
    await this.renew_();
    const response = await this.ask_(extend(this.hub_, { room, ...query }), signal && { signal });
    if (response.ok) return response.json();
    throw new RealtimeError(await problem(response));
  };

  /** Who is in a room with a subscription; above 1000 members only the number, but see {@link Options}. @type {(room: string) => Presence} */
  presence = (room) => this.rooms_.get(room) ?? { members: 0, here: new Map() };

  /** The messages that wait to be sent to a room, oldest first. @type {(room: string) => Pending[]} */
  pending = (room) => {
    this.load_();
    return this.outbox_.of_(room);
  };

  /** Removes a message from the outbox; its promise is rejected. It may have been published already. @type {(key: string) => void} */
  discard = (key) => this.outbox_.discard_(GIVEN_UP, key);

  /** Ends for good. Messages that wait are rejected. @param {Wire} [error] The reason, if the server is it. */
  close = (error) => {
    if (this.state == 'closed') return;
    this.life_.abort();
    this.undo_?.();
    this.close_('closed');
    const answer = { ...GIVEN_UP, ...error };
    this.outbox_.limit_ = -1;
    this.outbox_.discard_(answer);
    leavePlace(this.place_);
    if (!error) return;
    const reason = new RealtimeError(answer);
    for (const subscription of this.subscriptions_) {
      subscription.close();
      emit(subscription, 'error', reason);
    }
    emit(this, 'error', reason);
  };

  /** Reads the page's URL and storage, and listens to its events; does so once. */
  load_() {
    if (this.place_) return;
    const { href, origin } = new URL(this.hub_, /** @type {any} */ (location));
    this.hub_ = this.token_ || origin == location.origin ? href : extend(href, { anonymous: 1 });
    this.place_ = takePlace(this.hub_);
    try {
      this.storage_ = sessionStorage;
      let kept;
      [this.conn, this.index_, kept, this.tab_] = JSON.parse(this.storage_[this.place_]);
      this.outbox_.messages_ = kept.filter((/** @type {any} */ it) => it.key && it.room);
    } catch {}
    const on = (/** @type {string} */ types, /** @type {() => void} */ then) => {
      for (const type of types.split(' ')) addEventListener(type, then, this.life_);
    };
    on('pagehide freeze', () => this.close_('idle'));
    on('pageshow resume', () => {
      if (this.subscriptions_.size || this.outbox_.messages_[0]) this.start_();
    });
    on('online offline visibilitychange', () => {
      if (!self.document?.hidden) this.team_?.send_({ op: 'check' });
    });
  }

  /** Asks the page for its token. It rejects if the page has no answer. */
  async renew_() {
    const token = /** @type {any} */ (this.token_);
    return (this.bearer_ = await (token?.call ? token() : token));
  }

  /** Makes a request with the token. It ends with its signal or, if it has none, after some ms. @type {(url: string, init?: RequestInit, ms?: number) => Promise<Response>} */
  ask_(url, init, ms = LATE) {
    const headers = { ...init?.headers, ...(this.bearer_ && { Authorization: 'Bearer ' + this.bearer_ }) };
    return fetch(url, { signal: AbortSignal.timeout(ms), cache: 'no-store', ...init, headers });
  }

  /** Opens a connection, unless there is one. */
  start_() {
    this.load_();
    if (this.state != 'idle') return;
    this.rest_('connecting');
    this.open_(this.alone_);
  }

  /** Joins the other tabs that have the same hub and transports. @param {boolean} alone */
  open_(alone) {
    this.leader_ = 0;
    this.team_ = new Team(this, alone);
  }

  /** Starts over with another id: another tab has this tab's id, and all that was kept. */
  copied_() {
    this.conn = undefined;
    this.outbox_.messages_ = this.outbox_.messages_.filter((message) => message.resolve_);
    return (this.tab_ = random());
  }

  /** Hands the connection on to another tab. @param {State} state */
  close_(state) {
    this.team_?.close_();
    this.team_ = undefined;
    this.rest_(state);
  }

  /** Goes to a state that has no connection. @param {State} state */
  rest_(state) {
    this.become_({ state, transport: '', retryAt: 0 });
  }

  /** The one place where the state changes. @param {Wire} status @param {number} [leader] The leader that sent it. */
  become_(status, leader = 0) {
    const text = JSON.stringify(status);
    Object.assign(this, status);
    if (leader != this.leader_) {
      this.leader_ = leader;
      for (const subscription of this.subscriptions_) subscription.join_();
    }
    if (text == this.told_) return;
    this.told_ = text;
    if (this.state == 'open') for (const message of this.outbox_.messages_) message.ref = 0; // nothing that was sent before has an answer
    this.outbox_.pump_();
    emit(this, 'statechange', status);
  }

  /** Sends a command to the leader, if there is one that this page may use. @param {Wire} command */
  send_(command) {
    return this.leader_ && this.team_?.send_(command);
  }

  /** Takes what the leader sends: a status, or an object from the wire. @param {Wire} object @param {number} leader @param {boolean} [own] Whether this tab leads. */
  take_(object, leader, own) {
    if (object.state) {
      // Another tab's connection must belong to this page's user.
      const user = object.user?.id ?? '';
      const pair = leader + user;
      if (own || object.state != 'open' || this.verified_ == pair) return this.become_(object, leader);
      this.leader_ = 0;
      return this.check_(user, pair);
    }
    if (leader != this.leader_ || (object.op == 'presence' && /** @type {any} */ (this.presence_) == 0)) return;
    this.outbox_.take_(object);
    if (this.changes_.delete(object.ref) && object.status) emit(this, 'error', new RealtimeError(object));
    for (const subscription of this.subscriptions_) {
      if (subscription.room != object.room) continue;
      if (object.members != null) {
        const presence = this.presence(object.room);
        this.rooms_.set(object.room, presence);
        count(presence, object);
        subscription.members = object.members;
      }
      subscription.take_(object);
    }
  }

  /** Asks whether a leader's connection belongs to this page's user. If not, this page opens a connection of its own. @param {string} theirs @param {string} pair */
  async check_(theirs, pair) {
    const team = /** @type {Team} */ (this.team_);
    const mine = await this.renew_().then(() => whoAmI(this)).catch(() => undefined);
    if (team != this.team_ || mine == undefined) return;
    if (mine == theirs) {
      this.verified_ = pair;
      team.send_({ op: 'ask' });
    } else {
      team.send_({ op: 'check' }); // perhaps the user has changed, and the leader does not know yet
      team.close_();
      this.open_(true);
    }
  }
}
