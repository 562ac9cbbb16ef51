import { Envelope } from './realtime.js';

/** The last value of a room: `<realtime-value room="ticker/gold" path="price"></realtime-value>`. */
export class RealtimeValue extends HTMLElement {
  /** Makes the class an element, unless the tag is taken. */
  static define(tag?: string, registry?: CustomElementRegistry): void;
  /** The value that is shown; undefined before the first message. */
  value: string | number | boolean | undefined;
}

declare global {
  interface HTMLElementTagNameMap {
    'realtime-value': RealtimeValue;
  }
  interface HTMLElementEventMap {
    'realtime-value': CustomEvent<{ value: string | number | boolean; message: Envelope }>;
  }
}
