import { Realtime } from './realtime.js';

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
export class RealtimeSocket extends /** @type {new () => Pick<WebSocket, keyof EventTarget>} */ (EventTarget) {
  static CONNECTING = /** @type {const} */ (0);
  static OPEN = /** @type {const} */ (1);
  static CLOSING = /** @type {const} */ (2);
  static CLOSED = /** @type {const} */ (3);
  CONNECTING = /** @type {const} */ (0);
  OPEN = /** @type {const} */ (1);
  CLOSING = /** @type {const} */ (2);
  CLOSED = /** @type {const} */ (3);
  /** @type {0 | 1 | 2 | 3} */
  readyState = 0;
  extensions = '';
  protocol = '';
  /** @type {BinaryType} */
  binaryType = 'blob';
  /** @type {WebSocket['onopen']} */
  onopen = null;
  /** @type {WebSocket['onmessage']} */
  onmessage = null;
  /** @type {WebSocket['onerror']} */
  onerror = null;
  /** @type {WebSocket['onclose']} */
  onclose = null;
  /** The messages become text one after the other. */
  tail_ = Promise.resolve();

  /** @param {string | URL} url @param {string | string[]} [protocols] Without meaning here. */
  constructor(url, protocols) {
    super();
    const hub = new URL(url, location.href);
    this.url = hub.href;
    // The URL of a bundle does not name the hub.
    const [, base = ''] = /^\w+:\/\/[^/]*(\/.*)-\/realtime-socket[^/]*$/.exec(import.meta.url) ?? [];
    const [path] = hub.pathname.startsWith(base || ' ') ? [base] : /** @type {string[]} */ (/^\/[^/]*\//.exec(hub.pathname) ?? ['/']);
    const room = hub.pathname.slice(path.length);
    const last = hub.searchParams.get('last') ?? undefined;
    hub.searchParams.delete('last');
    hub.pathname = path;
    /** @internal */
    this.hub_ = new Realtime(hub.href.replace(/^ws/, 'http'), { share: false, presence: '0' });
    /** @internal */
    this.room_ = this.hub_.subscribe(decodeURIComponent(room), { last });
    for (const type of /** @type {const} */ (['open', 'message', 'error', 'close']))
      this.addEventListener(type, (/** @type {any} */ event) => /** @type {any} */ (this)['on' + type]?.(event));
    const over = (/** @type {any} */ { detail }) => {
      if (this.readyState > 2) return;
      this.fire_('error');
      this.end_(4e3 + detail.status, detail.title);
    };
    // Its other errors are those of messages, which send has seen.
    this.hub_.addEventListener('error', (event) => this.hub_.state == 'closed' && over(event));
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

  /** How many bytes the server has not acknowledged, as JSON. */
  get bufferedAmount() {
    return JSON.stringify(this.hub_.pending(this.room_.room)).length - 2;
  }

  /** @param {'open' | 'message' | 'error' | 'close'} type @param {object} [fields] */
  fire_(type, fields) {
    this.dispatchEvent(Object.assign(new Event(type), fields));
  }

  /** @param {number} code @param {string} reason */
  end_(code, reason, wasClean = false) {
    if (this.readyState > 2) return;
    this.readyState = 3;
    this.hub_.close();
    this.fire_('close', { code, reason, wasClean });
  }

  /** Publishes. Before the socket is open, messages wait. @param {string | ArrayBuffer | ArrayBufferView | Blob} data */
  send(data) {
    this.tail_ = this.tail_.then(async () => {
      /** @type {any} */
      let content = data;
      if (typeof data != 'string') {
        const bytes = new Uint8Array(await new Response(/** @type {any} */ (data)).arrayBuffer());
        const text = bytes.reduce((text, byte) => text + String.fromCharCode(byte), '');
        content = { base64: btoa(text), type: /** @type {any} */ (data).type || 'application/octet-stream' };
      }
      this.room_.publish(content).catch(() => this.readyState < 3 && this.fire_('error'));
    });
  }

  /** Closes when all messages are sent, or after five seconds, uncleanly. @param {number} [code] Default 1005. @param {string} [reason] */
  close(code = 1005, reason = '') {
    if (this.readyState > 1) return;
    this.readyState = 2;
    const until = performance.now() + 5e3;
    const end = () => {
      if (!this.bufferedAmount) this.end_(code, reason, true);
      else if (performance.now() < until) setTimeout(end, 50);
      else {
        this.fire_('error');
        this.end_(1006, '');
      }
    };
    this.tail_.then(end);
  }
}
