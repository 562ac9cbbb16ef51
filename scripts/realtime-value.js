// Defines <realtime-value>, the last value of a room as a number or a text in any page:
//
//	<script type="module" src="/rt/-/realtime-value.js"></script>
//	<realtime-value room="ticker/gold" path="price" digits="2" unit="EUR">…</realtime-value>

import { checkSrc, hubOf, localeOf } from './realtime-element.js';
import { Realtime } from './realtime.js';

/** @type {Record<string, Realtime>} One connection for each hub. */
const hubs = {};

/**
 * The last value of a room. It replaces the element's own content, which stays until there is a value. Numbers are formatted for the
 * nearest `lang`. Screen readers do not read changes aloud unless the element has an `aria-live`.
 *
 * @tag realtime-value
 * @slot - Shown before there is a value.
 * @attr {string} src - The hub's URL; default: where the script comes from, in a bundle `/rt/`.
 * @attr {string} room - The room.
 * @attr {string} path - The member of the data to show, like `price.eur`. Messages without it are skipped. Default: the whole data.
 * @attr {string} event - Show only messages with this event; default: any.
 * @attr {string} last - How many old messages to search for the first value; default 1.
 * @attr {number} digits - Digits after the point; default: as many as there are, at most 3, or a currency's own.
 * @attr {string} unit - A currency code with three letters, like `EUR`, or any text to put after the value.
 * @attr {string} lang - The language; default: that of the nearest `lang`, or the browser's.
 * @attr {'up' | 'down'} trend - Set by the element when a number changes.
 * @fires {CustomEvent<{value: string | number | boolean, message: object}>} realtime-value - There is a new value.
 */
export class RealtimeValue extends (globalThis.HTMLElement ?? Object) {
  static observedAttributes = ['src', 'room', 'path', 'event', 'last', 'digits', 'unit', 'lang'];

  /**
   * Makes the class an element, unless the tag is taken.
   * @param {string} tag
   * @param {CustomElementRegistry} registry
   */
  static define(tag = 'realtime-value', registry = globalThis.customElements) {
    registry?.get(tag) ?? registry?.define(tag, this);
  }

  /** @type {any} The value that is shown; undefined before the first message. */
  value;
  /** @type {any} The attributes of the present subscription. */
  made_;
  /** @type {any} */
  subscription_;

  connectedCallback() { this.update_(); }
  disconnectedCallback() { this.update_(); }
  attributeChangedCallback() { this.update_(); }

  update_() {
    queueMicrotask(() => {
      const made = this.isConnected && RealtimeValue.observedAttributes.map((name) => this.getAttribute(name)).join();
      if (made === this.made_) return;
      this.made_ = made;
      this.subscription_?.close();
      if (!made) return;
      const [src, room, last] = ['src', 'room', 'last'].map((name) => this.getAttribute(name));
      checkSrc(src);
      const url = hubOf(src);
      this.subscription_ = (hubs[url] ??= new Realtime(url, { presence: '0' })).subscribe(room ?? '', { last: Number(last ?? 1) });
      this.subscription_.addEventListener('message', ({ detail }) => this.take_(detail));
    });
  }

  /** @param {any} message */
  take_(message) {
    const [path, event, digits, unit] = ['path', 'event', 'digits', 'unit'].map((name) => this.getAttribute(name));
    let value = message.data;
    try {
      value = JSON.parse(value);
    } catch { /* a text, or JSON already */ }
    if (path) for (const key of path.split('.')) value = value?.[key];
    if (value == null || typeof value === 'object' || event && event !== (message.event ?? 'message')) return;
    const places = Math.min(+digits || 0, 20);
    const currency = /^[A-Z]{3}$/.test(unit ?? '');
    this.textContent = value.toLocaleString(localeOf(/** @type {any} */ (this.closest('[lang]'))?.lang), {
      ...(digits && { minimumFractionDigits: places, maximumFractionDigits: places }),
      ...(currency && { style: 'currency', currency: unit }),
    }) + (unit && !currency ? '\xa0' + unit : '');
    if (this.value !== undefined && value !== this.value) {
      this.setAttribute('trend', value > this.value ? 'up' : 'down');
      if (!matchMedia('(prefers-reduced-motion)').matches) this.animate({ backgroundColor: ['color-mix(in srgb, currentColor 25%, transparent)', 'transparent'] }, 900);
    }
    this.value = value;
    this.dispatchEvent(new CustomEvent('realtime-value', { detail: { value, message }, bubbles: true, composed: true }));
  }
}

RealtimeValue.define();
