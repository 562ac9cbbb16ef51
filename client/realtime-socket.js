import { Realtime } from './realtime.js';

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
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;
  CONNECTING = 0;
  OPEN = 1;
  CLOSING = 2;
  CLOSED = 3;
  readyState = 0;
  extensions = '';
  protocol = '';
  /** @type {BinaryType} */
  binaryType = 'blob';
  /** @type {((event: any) => void) | null | undefined} */
  onopen;
  /** @type {((event: any) => void) | null | undefined} */
  onmessage;
  /** @type {((event: any) => void) | null | undefined} */
  onerror;
  /** @type {((event: any) => void) | null | undefined} */
  onclose;
  /** @internal The messages become text one after the other. */
  tail_ = Promise.resolve();

  /** @param {string | URL} url @param {string | string[]} [protocols] Without meaning here. */
  constructor(url, protocols) {
    super();
    const hub = new URL(url, location.href);
    this.url = hub.href;
    const base = new URL('..', import.meta.url).pathname;
    const [, path, room] = RegExp(`^(${base}|/[^/]*/)(.*)`).exec(hub.pathname) ?? [];
    const last = hub.searchParams.get('last') ?? undefined;
    hub.searchParams.delete('last');
    hub.pathname = path;
    /** @internal */
    this.hub_ = new Realtime(hub.href.replace(/^ws/, 'http'), { share: false, presence: '0', window: 8 });
    /** @internal */
    this.room_ = this.hub_.subscribe(decodeURIComponent(room), { last });
    const over = (/** @type {any} */ { detail }) => {
      this.fire_('error');
      this.end_(4e3 + detail.status, detail.title);
    };
    this.hub_.addEventListener('error', over);
    this.room_.addEventListener('error', over);
    this.room_.addEventListener('left', over);
    this.room_.addEventListener('join', () => {
      if (this.readyState) return;
      this.readyState = 1;
      this.fire_('open');
    });
    this.room_.addEventListener('message', (/** @type {any} */ { detail: { data } }) => {
      if (data?.base64 != null) {
        const bytes = Uint8Array.from(atob(data.base64), (byte) => byte.charCodeAt(0));
        data = this.binaryType == 'blob' ? new Blob([bytes], data) : bytes.buffer;
      } else if (typeof data != 'string') data = JSON.stringify(data);
      this.fire_('message', { data });
    });
  }

  /** What the server has not acknowledged, in bytes, with what surrounds it. */
  get bufferedAmount() {
    return JSON.stringify(this.hub_.pending(this.room_.room)).length - 2;
  }

  /** @internal @param {'open' | 'message' | 'error' | 'close'} type @param {object} [fields] */
  fire_(type, fields) {
    const event = Object.assign(new Event(type), fields);
    this[`on${type}`]?.(event);
    this.dispatchEvent(event);
  }

  /** @internal @param {number} code @param {string} reason */
  end_(code, reason, wasClean = false) {
    if (this.readyState > 2) return;
    this.readyState = 3;
    this.hub_.close();
    this.fire_('close', { code, reason, wasClean });
  }

  /** Publishes. What is sent before it is open waits. @param {string | ArrayBuffer | ArrayBufferView | Blob} data */
  send(data) {
    this.tail_ = this.tail_.then(async () => {
      /** @type {any} */
      let content = data;
      if (typeof data != 'string') {
        const bytes = new Uint8Array(await new Response(/** @type {any} */ (data)).arrayBuffer());
        const text = bytes.reduce((text, byte) => text + String.fromCharCode(byte), '');
        content = { base64: btoa(text), type: /** @type {any} */ (data).type || 'application/octet-stream' };
      }
      this.room_.publish(content).catch(() => this.fire_('error'));
    });
  }

  /** Ends, when what waits is sent. @param {number} [code] Default 1005. @param {string} [reason] */
  close(code = 1005, reason = '') {
    if (this.readyState > 1) return;
    this.readyState = 2;
    const end = () => (this.bufferedAmount ? setTimeout(end, 50) : this.end_(code, reason, true));
    this.tail_.then(end);
  }
}
