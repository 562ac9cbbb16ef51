/**
 * Server-sent events (HTML, "Parsing an event stream"). `event` and `id` are not looked at: the objects say it themselves.
 */
export const sse: import("./transports.js").Transport;
/** Long polling: pages, turned into the objects of a stream. */
export const poll: import("./transports.js").Transport;
export type Envelope = import("./realtime.js").Envelope;
export type Wire = import("./realtime.js").Wire;
export type Joined = import("./transports.js").Joined;
export type Transport = import("./transports.js").Transport;
export type Get = (accept: string, query: Wire) => Promise<Response>;
