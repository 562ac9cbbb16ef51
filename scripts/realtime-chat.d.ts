import { Envelope, Realtime, RealtimeError, Status } from './realtime.js';

export * from './realtime.js';

/** A chat in one room: `<realtime-chat room="lobby"></realtime-chat>`. Attributes have properties of the same names. */
export class RealtimeChat extends HTMLElement {
  /** Makes the class an element, unless the tag is taken. */
  static define(tag?: string, registry?: CustomElementRegistry): void;
  /** The hub's URL, with a slash at its end. */
  src: string;
  /** Default: from the page's path. */
  room: string;
  /** The writer's name, if the page knows it. */
  name: string;
  transport: 'websocket' | 'sse' | 'poll' | '';
  /** How many old messages to show at first: 0 to 1000, default 50. */
  history: number;
  form: 'bubble' | 'full' | '';
  /** The user's token, or a function that returns it. Set it before the chat begins. */
  token?: import('./realtime.js').Options['token'];
  /** The connection; undefined before the element has begun. */
  realtime?: Realtime;
  /** Publishes a text as the element's own field does. */
  send(text: string): void;
}

declare global {
  interface HTMLElementTagNameMap {
    'realtime-chat': RealtimeChat;
  }
  interface HTMLElementEventMap {
    'realtime-message': CustomEvent<Envelope>;
    'realtime-status': CustomEvent<Status>;
    'realtime-error': CustomEvent<RealtimeError>;
  }
}
