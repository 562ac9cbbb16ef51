declare const RealtimeError_base: new (message: string) => Error & Refusal;
/**
 * @typedef {Pending & {ref_?: number, undo_?: () => void, resolve_?: (answer: any) => void, reject_?: (reason: any) => void}} Message
 */
/** Why something was refused. */
export class RealtimeError extends RealtimeError_base {
    /** @param {Wire} answer */
    constructor(answer: Wire);
}
declare const Realtime_base: new () => Listening<"statechange" | "error">;
/**
 * A hub's rooms.
 *
 * Events: `statechange` (its detail: `state`, `transport`, `retryAt`) and `error` (a {@link RealtimeError}): there is no coming
 * back, or a message or a state was refused.
 */
export class Realtime extends Realtime_base {
    /**
     * Opens nothing, and looks at nothing, before it is used.
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
    /** @type {{id: string, name?: string} | undefined} Whom the server takes us for. */
    user: {
        id: string;
        name?: string;
    } | undefined;
    /** @type {string | undefined} The connection, as the server named it; kept over a reload. */
    conn: string | undefined;
    /** @type {{message?: number, rooms?: number} | undefined} What the server takes: bytes of a message. Undefined where it does not say. */
    limits: {
        message?: number;
        rooms?: number;
    } | undefined;
    /** @internal Which of the transports opened last: tried first after a reload. */
    used: number;
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
    subscribe: (room: string, { after: cursor, last, state, signal }?: {
        after?: string | undefined;
        last?: string | number | undefined;
        state?: any;
        signal?: AbortSignal | undefined;
    }) => Subscription;
    /**
     * Publishes a message. While not open it waits in the outbox, and there outlives a reload.
     *
     * The promise, which has the message's `key`, is rejected with a {@link RealtimeError}: the server's, or 499 where it
     * was not sent: the outbox is full, it has no answer four minutes after it was first tried, it was discarded, or this is
     * closed.
     * @param {string} room
     * @param {any} data Text, any JSON, or `{base64, type}` for bytes.
     * @param {object} [options]
     * @param {string} [options.event] Default `message`.
     * @param {string} [options.key] An id of its own: what comes again under the same one is not published again.
     * @param {number} [options.ttl] After how many seconds it is forgotten; 0: at once.
     * @param {AbortSignal} [options.signal] Discards it, and rejects with the signal's reason.
     * @returns {Promise<{id: string, at: string, key: string}> & {key: string}}
     */
    publish: (room: string, data: any, { event, key, ttl, signal }?: {
        event?: string | undefined;
        key?: string | undefined;
        ttl?: number | undefined;
        signal?: AbortSignal | undefined;
    }) => Promise<{
        id: string;
        at: string;
        key: string;
    }> & {
        key: string;
    };
    /**
     * Sends what is stored nowhere: as well as it goes, and not at all while not open.
     * @param {string} room
     * @param {string} event
     * @param {any} [data]
     */
    signal: (room: string, event: string, data?: any) => any;
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
    history: (room: string, { signal, ...query }?: {
        before?: string | undefined;
        since?: string | undefined;
        limit?: number | undefined;
        signal?: AbortSignal | undefined;
    }) => Promise<{
        messages: Envelope[];
        cursor: string;
        more: boolean;
    }>;
    /**
     * Who is in a room that is subscribed to. Of rooms above 1000 members only the number is known, but see {@link Options}.
     * @param {string} room
     * @returns {Presence}
     */
    presence: (room: string) => Presence;
    /**
     * What is still to be sent to a room, oldest first.
     * @param {string} room
     * @returns {Pending[]}
     */
    pending: (room: string) => Pending[];
    /**
     * Drops a message from the outbox; its promise is rejected. It may have been sent already.
     * @param {string} key
     */
    discard: (key: string) => void;
    /** Ends for good; what waits is rejected. @param {Wire} [error] Why, if not by choice. */
    close: (error?: Wire) => void;
}
/**
 * A message.
 */
export type Envelope = {
    /**
     * Its place, `epoch.offset`, which is a cursor.
     */
    id: string;
    room: string;
    /**
     * Left out when it is `message`.
     */
    event?: string | undefined;
    /**
     * Text, any JSON, or `{base64, type}` for bytes.
     */
    data: any;
    /**
     * The publisher, as the server knows him.
     */
    from?: {
        id: string;
        name?: string;
    } | undefined;
    /**
     * The publisher's own id for it.
     */
    key?: string | undefined;
    /**
     * When, as in RFC 3339.
     */
    at: string;
};
/**
 * One who is present, with what he shows.
 */
export type Member = {
    id: string;
    name?: string;
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
     * How many messages may wait; default 100; 0: none is kept, nor taken while not open.
     */
    outbox?: number | undefined;
    /**
     * How many messages of a room may be on their way at once; default 1, which keeps their order
     * whatever happens.
     */
    window?: number | undefined;
    /**
     * Whom to be told of: nobody; those in joined rooms (the default); the names in
     * rooms above 1000 members too.
     */
    presence?: "all" | "0" | "1" | undefined;
    /**
     * Closes.
     */
    signal?: AbortSignal | undefined;
};
export type Refusal = {
    /**
     * An HTTP status; 499 for what was not sent.
     */
    status: number;
    /**
     * What it is, in a few words.
     */
    title: string;
    /**
     * What it was here.
     */
    detail?: string | undefined;
    /**
     * The field that is to blame.
     */
    field?: string | undefined;
    /**
     * After how many ms it may go well.
     */
    retry_ms?: number | undefined;
    /**
     * The message's.
     */
    key?: string | undefined;
    room?: string | undefined;
};
/**
 * A message in the outbox.
 */
export type Pending = {
    key: string;
    room: string;
    data: any;
    event?: string | undefined;
    /**
     * In seconds.
     */
    ttl?: number | undefined;
    /**
     * When it was published, in ms since 1970.
     */
    at: number;
    /**
     * When it was first tried, likewise.
     */
    sent?: number | undefined;
};
/**
 * A command or an object of the protocol.
 */
export type Wire = Record<string, any>;
export type Reader = {
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
     * As {@link Realtime#publish}.
     */
    publish: Realtime["publish"] extends (room: string, ...a: infer A) => infer R ? (...a: A) => R : never;
    /**
     * As {@link Realtime#signal}.
     */
    signal: (event: string, data?: any) => void;
    /**
     * As
     * {@link Realtime#history}.
     */
    history: Realtime["history"] extends (room: string, ...a: infer A) => infer R ? (...a: A) => R : never;
    /**
     * Shows something else in presence: any JSON.
     */
    setState: (state: any) => void;
    /**
     * Ends it; with its last one the room is left.
     */
    close: () => void;
};
export type Source = Listening<"message" | "signal" | "presence" | "gap" | "join" | "left" | "error">;
/**
 * One reader of one room, from {@link Realtime#subscribe}.
 *
 * Events, whose detail is the object from the wire: `message` (an {@link Envelope}, whatever its event), `signal`,
 * `presence` (with the whole {@link Presence}), `gap`, `join` (what was missed comes next), `left` (the server ended it),
 * and `error` (a {@link RealtimeError}: it could not begin).
 */
export type Subscription = Source & Reader;
/**
 * An EventTarget with events of these types.
 */
export type Listening<Type extends string> = {
    addEventListener: (type: Type, listener: (event: CustomEvent<any>) => void, options?: AddEventListenerOptions | boolean) => void;
} & EventTarget;
export type Message = Pending & {
    ref_?: number;
    undo_?: () => void;
    resolve_?: (answer: any) => void;
    reject_?: (reason: any) => void;
};
export {};
