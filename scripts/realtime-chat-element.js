// The class of <realtime-chat>. Importing it defines nothing: RealtimeChat.define does.

import { Chat } from './realtime-chat-live.js';
import { cleanName, roomOf } from './realtime-chat-text.js';
import { checkSrc, hubOf } from './realtime-element.js';

/** @type {Record<string, (value: any) => any>} How the property of the same name is made from each attribute. */
const ATTRIBUTES = {
  src: hubOf,
  room: (value) => value || roomOf(location.pathname),
  name: cleanName,
  transport: (value) => ['websocket', 'sse', 'poll'].find((it) => it == value) ?? '',
  history: (value) => (value >= 0 && value ? Math.min(value, 1_000) : 50),
  form: (value) => value ?? '',
};

/**
 * A chat in one room. It has a property for each attribute except `token-url`, `lang` and `text-…`. When one of these changes, except
 * `name`, the chat starts over.
 *
 * @tag realtime-chat
 * @attr {string} src - The hub's URL; default: where the script comes from, in a bundle `/rt/`.
 * @attr {string} room - The room; default: from the page's path.
 * @attr {string} name - The writer's name, if the page knows it. The chat then has no field for it.
 * @attr {'websocket' | 'sse' | 'poll'} transport - The only transport to use; default: whichever gets through.
 * @attr {number} history - How many old messages to show at first, 0 to 1000; default 50.
 * @attr {'bubble' | 'full'} form - A bubble in the corner, or the whole window; default: a box in the page.
 * @attr {string} token-url - A URL of the page's own server, which answers with the token as text; an empty answer is nobody's.
 * @attr {string} lang - The language; default: that of the nearest `lang`, or the browser's.
 * @attr {string} text-title - Instead of “Chat”.
 * @attr {string} text-input - Instead of “Message”.
 * @attr {string} text-send - Instead of “Send”.
 * @attr {string} text-name - Instead of “Your name”.
 * @attr {string} text-here - Instead of “# here”.
 * @attr {string} text-typing - Instead of “# is typing…”.
 * @attr {string} text-connecting - Instead of “Connecting…”.
 * @attr {string} text-retry - Instead of “Retry”.
 * @attr {string} text-discard - Instead of “Discard”.
 * @attr {string} text-new - Instead of “New messages”.
 * @attr {string} text-empty - Instead of “Say hello!”.
 * @attr {string} text-gap - Instead of “Messages are missing”.
 * @attr {string} text-guest - Instead of “Guest”.
 * @attr {string} text-large - Instead of “Too long”.
 * @attr {string} text-refused - Instead of “No access”.
 * @attr {string} text-failed - Instead of “Not sent”.
 * @attr {string} text-sign-in - Instead of “Sign in to write”.
 * @attr {string} text-read-only - Instead of “You can only read here”.
 * @prop {string} src - The hub's URL, with a slash at its end.
 * @prop {string} room
 * @prop {string} name
 * @prop {'websocket' | 'sse' | 'poll' | ''} transport
 * @prop {number} history
 * @prop {string} form
 * @prop {string | (() => string | undefined | Promise<string | undefined>)} [token] - As the option of Realtime; default: from `token-url`. Set it before the chat begins.
 * @slot - Shown only where no script runs: a form, for example.
 * @slot header - Instead of the title.
 * @slot empty - Instead of the text in an empty room.
 * @slot composer - Instead of the fields; send messages with `send(text)`.
 * @slot sign-in - Beside the text that says to sign in: a link, for example.
 * @csspart panel - The box around all but the bubble's button.
 * @csspart header - The line above the log.
 * @csspart title - The title in it.
 * @csspart status - The state of the connection while it is not open.
 * @csspart people - How many people are here; who they are, when opened.
 * @csspart list - Who is here.
 * @csspart body - The area around the log.
 * @csspart log - The log, which scrolls.
 * @csspart news - What screen readers read aloud. It is invisible.
 * @csspart empty - The text in an empty room.
 * @csspart message - One message.
 * @csspart own - A message by the reader.
 * @csspart follow - A message below another one by the same author.
 * @csspart pending - A message that waits to be sent.
 * @csspart failed - A message that was refused.
 * @csspart head - The author and the time.
 * @csspart author - The author's name.
 * @csspart verified - A name that the server knows.
 * @csspart time - The time.
 * @csspart text - The text.
 * @csspart link - An address in a text.
 * @csspart more - Opens a text of more than 2,000 characters.
 * @csspart trouble - The line below a message that could not be sent.
 * @csspart retry - The button in it that sends again.
 * @csspart discard - The button in it that removes the message.
 * @csspart jump - The button that leads to the end of the log.
 * @csspart composer - The form.
 * @csspart row - The line above the field.
 * @csspart name - The field for the writer's name.
 * @csspart typing - Who is typing.
 * @csspart box - The frame around field and button.
 * @csspart input - The field for a message.
 * @csspart send - The button that sends.
 * @csspart error - The text about a refusal.
 * @csspart closed - In the place of the form: why the reader cannot write.
 * @csspart toggle - The bubble's button.
 * @csspart badge - The number of unread messages in it.
 * @cssprop --realtime-accent - Own messages and buttons.
 * @cssprop --realtime-accent-text - Text on the accent (white, or black on a light one).
 * @cssprop --realtime-background - The background. It and the text are mixed for all other colours.
 * @cssprop --realtime-text - The text.
 * @cssprop --realtime-radius - The corners (1.1rem).
 * @cssprop --realtime-height - The height (32rem).
 * @cssprop --realtime-font - The font family (system-ui).
 * @fires {CustomEvent<object>} realtime-message - A message came; `detail` is its envelope. Not for the history.
 * @fires {CustomEvent<{state: string, transport: string, retryAt: number}>} realtime-status - The connection's state changed.
 * @fires {CustomEvent<Error>} realtime-error - Something was refused; `detail` is a RealtimeError.
 */
export class RealtimeChat extends (globalThis.HTMLElement ?? Object) {
  static observedAttributes = [...Object.keys(ATTRIBUTES), 'lang', 'token-url'];

  /**
   * Makes the class an element, unless the tag is taken.
   * @param {string} tag
   * @param {CustomElementRegistry} registry
   */
  static define(tag = 'realtime-chat', registry = globalThis.customElements) {
    registry?.get(tag) ?? registry?.define(tag, this);
  }

  static {
    this.prototype.token = undefined; // so that frameworks set a property, and not an attribute
    for (const name in ATTRIBUTES) Object.defineProperty(this.prototype, name, {
      get() { return ATTRIBUTES[name](this.getAttribute(name)); },
      set(value) { this.setAttribute(name, value); },
    });
  }

  /** @type {import('./realtime.js').Realtime | undefined} The connection. It is closed some time after the element has left its document. */
  realtime;
  /** @type {string | false | undefined} The attributes of the present life. */
  made_;
  /** @type {Chat | undefined} The present life, or the last one. */
  chat_;

  /**
   * Publishes a text as the element's own field does.
   * @param {string} text
   */
  send(text) {
    if (text.trim()) this.chat_?.send_(text.trim());
  }

  connectedCallback() { this.update_(); }
  disconnectedCallback() { this.update_(); }
  attributeChangedCallback(name) {
    if (name == 'name') this.made_ && this.chat_?.rename_();
    else this.update_();
  }

  /** Begins, ends or renews the life, once for all changes of one task: an element that is only moved stays connected. */
  update_() {
    queueMicrotask(() => {
      const made = this.isConnected && RealtimeChat.observedAttributes.map((name) => name != 'name' && this.getAttribute(name)).join();
      if (made == this.made_) return;
      if (this.made_) this.chat_?.end_();
      this.made_ = made;
      if (!made) return;
      this.warn_();
      this.chat_ = new Chat(this, this.shadowRoot ?? this.attachShadow({ mode: 'open' }));
    });
  }

  /** Warns the page's author about likely mistakes. */
  warn_() {
    if (this.querySelector('script, main, footer, realtime-chat'))
      console.warn('<realtime-chat> needs </realtime-chat>');
    checkSrc(this.getAttribute('src'));
  }
}
