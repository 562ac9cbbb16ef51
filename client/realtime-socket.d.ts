/**
 * The interface of a WebSocket, over whatever gets through, that comes back by itself: an old page changes one word.
 *
 *     import { RealtimeSocket } from '/rt/-/realtime-socket.js'
 *
 *     const socket = new RealtimeSocket('/rt/lobby?last=20') // was: new WebSocket(…)
 *
 * The URL is a room's: `ws:`, `wss:`, `http:`, `https:` or relative, and may say `?last=20`. Its hub is where this module
 * comes from (`/rt/` of `/rt/-/realtime-socket.js`), otherwise the first segment of the path.
 */
export class RealtimeSocket extends EventTarget {
    static CONNECTING: number;
    static OPEN: number;
    static CLOSING: number;
    static CLOSED: number;
    /** @param {string | URL} url @param {string | string[]} [protocols] Without meaning here. */
    constructor(url: string | URL, protocols?: string | string[]);
    CONNECTING: number;
    OPEN: number;
    CLOSING: number;
    CLOSED: number;
    readyState: number;
    extensions: string;
    protocol: string;
    /** @type {BinaryType} */
    binaryType: BinaryType;
    /** @type {((event: any) => void) | null | undefined} */
    onopen: ((event: any) => void) | null | undefined;
    /** @type {((event: any) => void) | null | undefined} */
    onmessage: ((event: any) => void) | null | undefined;
    /** @type {((event: any) => void) | null | undefined} */
    onerror: ((event: any) => void) | null | undefined;
    /** @type {((event: any) => void) | null | undefined} */
    onclose: ((event: any) => void) | null | undefined;
    /** @internal The messages become text one after the other. */
    tail_: Promise<void>;
    url: string;
    /** @internal */
    hub_: Realtime;
    /** @internal */
    room_: import("./realtime.js").Subscription;
    /** What the server has not acknowledged, in bytes, with what surrounds it. */
    get bufferedAmount(): number;
    /** @internal @param {'open' | 'message' | 'error' | 'close'} type @param {object} [fields] */
    fire_(type: "open" | "message" | "error" | "close", fields?: object): void;
    /** @internal @param {number} code @param {string} reason */
    end_(code: number, reason: string, wasClean?: boolean): void;
    /** Publishes. What is sent before it is open waits. @param {string | ArrayBuffer | ArrayBufferView | Blob} data */
    send(data: string | ArrayBuffer | ArrayBufferView | Blob): void;
    /** Ends, when what waits is sent. @param {number} [code] Default 1005. @param {string} [reason] */
    close(code?: number, reason?: string): void;
}
import { Realtime } from './realtime.js';
