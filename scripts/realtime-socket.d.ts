declare const RealtimeSocket_base: new () => Pick<WebSocket, keyof EventTarget>;
/**
 * The interface of a WebSocket, over any transport that gets through. It reconnects by itself. An old page changes one word.
 *
 *     import { RealtimeSocket } from '/rt/-/realtime-socket.js'
 *
 *     const socket = new RealtimeSocket('/rt/lobby?last=20') // was: new WebSocket(…)
 *
 * The URL is a room's: `ws:`, `wss:`, `http:`, `https:` or relative, and may say `?last=20`. Its hub is where this module
 * comes from (`/rt/` of `/rt/-/realtime-socket.js`), otherwise the first segment of the path.
 */
export class RealtimeSocket extends RealtimeSocket_base {
    static CONNECTING: 0;
    static OPEN: 1;
    static CLOSING: 2;
    static CLOSED: 3;
    /** @param {string | URL} url @param {string | string[]} [protocols] Without meaning here. */
    constructor(url: string | URL, protocols?: string | string[]);
    CONNECTING: 0;
    OPEN: 1;
    CLOSING: 2;
    CLOSED: 3;
    /** @type {0 | 1 | 2 | 3} */
    readyState: 0 | 1 | 2 | 3;
    extensions: string;
    protocol: string;
    /** @type {BinaryType} */
    binaryType: BinaryType;
    /** @type {WebSocket['onopen']} */
    onopen: WebSocket["onopen"];
    /** @type {WebSocket['onmessage']} */
    onmessage: WebSocket["onmessage"];
    /** @type {WebSocket['onerror']} */
    onerror: WebSocket["onerror"];
    /** @type {WebSocket['onclose']} */
    onclose: WebSocket["onclose"];
    url: string;
    /** How many bytes the server has not acknowledged, as JSON. */
    get bufferedAmount(): number;
    /** Publishes. Before the socket is open, messages wait. @param {string | ArrayBuffer | ArrayBufferView | Blob} data */
    send(data: string | ArrayBuffer | ArrayBufferView | Blob): void;
    /** Closes when all messages are sent, or after five seconds, uncleanly. @param {number} [code] Default 1005. @param {string} [reason] */
    close(code?: number, reason?: string): void;
}
export {};
