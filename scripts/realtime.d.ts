declare const RealtimeError_base: new (message: string) => Error & Refusal;
/** Why something was refused. */
export class RealtimeError extends RealtimeError_base {
    /** @param {Wire} answer */
    constructor(answer: Wire);
}
declare const Realtime_base: new () => Listening<RealtimeEvents>;
/**
 * A hub's rooms.
 *
 * Events: `statechange`, and `error` (a {@link RealtimeError}) when a message or a state was refused or the client has given up.
 *
 * @template {Record<string, any>} [Rooms=Record<string, any>] What the rooms hold: `new Realtime<{orders: Order}>()`.
 */
export class Realtime<Rooms extends Record<string, any> = Record<string, any>> extends Realtime_base {
    /**
     * It opens no connection, and touches no browser API, before it is used.
     * @param {string} [url] Resolved against the page's.
     * @param {Options} [options]
     */
    constructor(url?: string, options?: Options);
    /** @type {State} */
    state: State;
    /** @type {TransportName | ''} Empty while not open. */
    transport: TransportName | "";
    /** When it will try again, in ms since 1970; 0 while not waiting. */
    retryAt: number;
    /** @type {User | undefined} The user that the server takes us for. */
    user: User | undefined;
    /** @type {string | undefined} The connection, as the server named it; kept over a reload. */
    conn: string | undefined;
    /** @type {{message?: number, rooms?: number} | undefined} What the server accepts, such as the bytes of a message; undefined where it does not say. */
    limits: {
        message?: number;
        rooms?: number;
    } | undefined;
    /**
     * Begins to read a room. All its subscriptions are one member.
     *
     * Options: `after` is a cursor to begin after; `last` is how many of the newest messages to begin with, or for how long back
     * (`10m`); `state` is shown in presence; the `signal` closes it.
     * @type {<Room extends keyof Rooms & string>(room: Room, options?: SubscribeOptions) => Subscription<Rooms[Room]>}
     */
    subscribe: <Room extends keyof Rooms & string>(room: Room, options?: SubscribeOptions) => Subscription<Rooms[Room]>;
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
    publish: <Room extends keyof Rooms & string>(room: Room, data: Rooms[Room], options?: PublishOptions) => Published;
    /** Sends something that is stored nowhere. It may get lost, and is dropped while there is no connection. @type {(room: string, event: string, data?: any) => any} */
    signal: (room: string, event: string, data?: any) => any;
    /**
     * Reads a page of old messages, oldest first: the newest ones, those `before` a cursor, or those `since` one. It makes a
     * request of its own, and rejects with a {@link RealtimeError}, or as `fetch` does. The `limit` is 50 by default, and at most 1000.
     * @type {<Room extends keyof Rooms & string>(room: Room, options?: HistoryOptions) => Promise<Page<Rooms[Room]>>}
     */
    history: <Room extends keyof Rooms & string>(room: Room, options?: HistoryOptions) => Promise<Page<Rooms[Room]>>;
    /** Who is in a room with a subscription; above 1000 members only the number, but see {@link Options}. @type {(room: string) => Presence} */
    presence: (room: string) => Presence;
    /** The messages that wait to be sent to a room, oldest first. @type {(room: string) => Pending[]} */
    pending: (room: string) => Pending[];
    /** Removes a message from the outbox; its promise is rejected. It may have been published already. @type {(key: string) => void} */
    discard: (key: string) => void;
    /** Ends for good. Messages that wait are rejected. @param {Wire} [error] The reason, if the server is it. */
    close: (error?: Wire) => void;
}
/**
 * A message: `id`
 *   is its place, which is a cursor; `event` is left out when it is `message`; `from` is its publisher, as the server knows them;
 *   `key` the publisher's own id for it; `at` a time as in RFC 3339.
 */
export type Envelope<Data = any> = {
    id: string;
    room: string;
    event?: string;
    data: Data;
    from?: User;
    key?: string;
    at: string;
};
export type User = {
    id: string;
    name?: string;
    guest?: boolean;
    backend?: boolean;
};
/**
 * A member of a room, with the state that they show.
 */
export type Member = User & {
    state?: any;
};
/**
 * How many are in a room, and who, by id.
 */
export type Presence = {
    members: number;
    here: Map<string, Member>;
};
export type State = "idle" | "connecting" | "open" | "waiting" | "closed";
export type TransportName = "websocket" | "sse" | "poll";
export type Options = {
    /**
     * Whether all tabs of this origin and URL have one connection; default true.
     */
    share?: boolean | undefined;
    /**
     * Those to try, in this order; default all three.
     */
    transports?: TransportName[] | undefined;
    /**
     * How many messages may wait; default 100. With 0, none is kept, and none is accepted while not open.
     */
    outbox?: number | undefined;
    /**
     * Which presence to receive: none; that of joined rooms; with names above 1000 members, too.
     */
    presence?: "all" | "0" | "1" | undefined;
    /**
     * Says who the user is: a token (JWT), or a
     * function that returns a fresh one; nothing is a user who has none.
     */
    token?: string | (() => string | undefined | Promise<string | undefined>) | undefined;
    /**
     * Closes.
     */
    signal?: AbortSignal | undefined;
};
/**
 * `status` is an HTTP status, or 499 for a message that the client has given up without a confirmation; `title` names the kind of
 * error; `detail` says what went wrong this time; `field` is the field that is wrong; after `retry_ms` a retry may succeed; `key`
 * is the message's key.
 */
export type Refusal = {
    status: number;
    title: string;
    detail?: string;
    field?: string;
    retry_ms?: number;
    key?: string;
    room?: string;
};
/**
 * A message in the outbox: `ttl` is in seconds; `at` is when it was published, in ms since 1970; `sent` is when it was
 * first sent, the id of the user who sent it, and the connection.
 */
export type Pending = {
    key: string;
    room: string;
    data: any;
    event?: string;
    ttl?: number;
    at: number;
    sent?: [number, string | undefined, string | undefined];
};
/**
 * A command or an object of the protocol.
 */
export type Wire = Record<string, any>;
export type RealtimeEvents = {
    statechange: Status;
    error: RealtimeError;
};
export type Status = {
    state: State;
    transport: TransportName | "";
    retryAt: number;
    user?: User;
    conn?: string;
};
export type Published = Promise<{
    id: string;
    at: string;
    key: string;
}> & {
    key: string;
};
export type SubscribeOptions = {
    after?: string;
    last?: number | string;
    state?: any;
    signal?: AbortSignal;
};
export type PublishOptions = {
    event?: string;
    key?: string;
    ttl?: number;
    signal?: AbortSignal;
};
export type HistoryOptions = {
    before?: string;
    since?: string;
    limit?: number;
    signal?: AbortSignal;
};
/**
 * Messages, oldest first.
 */
export type Page<Data = any> = {
    messages: Envelope<Data>[];
    cursor: string;
    more: boolean;
};
/**
 * The `detail` of each event of a {@link Subscription}.
 */
export type SubscriptionEvents<Data = any> = {
    /**
     * With any event's name.
     */
    message: Envelope<Data>;
    signal: {
        room: string;
        event: string;
        data?: any;
        from?: User;
        at: string;
    };
    presence: Presence & {
        room: string;
        enter?: Member[];
        update?: Member[];
        leave?: {
            id: string;
            why: string;
        }[];
    };
    gap: {
        room: string;
        from?: string;
        to: string;
        reason: "expired" | "epoch" | "slow";
    };
    /**
     * The missed messages come next.
     */
    join: {
        room: string;
        cursor: string;
        members?: number;
        can?: string[];
    };
    /**
     * What the client may do has changed since the join.
     */
    can: {
        room: string;
        can: string[];
    };
    /**
     * The server ended it.
     */
    left: Refusal;
    /**
     * It could not begin, or go on.
     */
    error: RealtimeError;
};
export type Reader<Data = any> = {
    room: string;
    /**
     * The place of the last message.
     */
    cursor: string | undefined;
    /**
     * How many are in the room.
     */
    members: number;
    /**
     * What the client may do beside reading, such as `publish`; undefined where the server does not say.
     */
    can: string[] | undefined;
    /**
     * As {@link Realtime#publish}.
     */
    publish: (data: Data, options?: PublishOptions) => Published;
    /**
     * As {@link Realtime#signal}.
     */
    signal: (event: string, data?: any) => void;
    /**
     * As {@link Realtime#history}.
     */
    history: (options?: HistoryOptions) => Promise<Page<Data>>;
    /**
     * Shows another state in presence: any JSON.
     */
    setState: (state: any) => void;
    /**
     * Ends it. With its last subscription the client leaves the room.
     */
    close: () => void;
};
/**
 * One reader of one room, from {@link Realtime#subscribe}.
 */
export type Subscription<Data = any> = Listening<SubscriptionEvents<Data>> & Reader<Data>;
/**
 * An EventTarget with events of these types.
 */
export type Listening<Events> = Omit<EventTarget, "addEventListener" | "removeEventListener"> & Record<"addEventListener" | "removeEventListener", <Type extends keyof Events>(type: Type, listener: ((event: CustomEvent<Events[Type]>) => void) | null, options?: AddEventListenerOptions | boolean) => void>;
export {};
