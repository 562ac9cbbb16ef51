// The fields of one <realtime-chat>.

import { keep } from './realtime-chat-shared.js';
import { cleanName } from './realtime-chat-text.js';

/** @typedef {import('./realtime-chat-live.js').Chat} Chat */

const HINTS = 3_000; // ms between two hints that somebody is typing
const COMPOSING = 229; // the key code of the last key of an input method in Safari, which says it is not composing any more

export class Composer {
  /** @type {any} The timer of the next hint: hints go out one at a time, however much is typed meanwhile. */
  typed_;
  /** Whether something was typed since the last hint. */
  more_ = false;

  /** @param {Chat} chat */
  constructor(chat) {
    this.chat_ = chat;
    const { input_: input, nick_: nick, composer_: composer } = chat.view_;
    input.onkeydown = (/** @type {KeyboardEvent} */ event) => this.pressed_(event);
    input.onfocus = () => { nick.value ||= keep('name') ?? ''; }; // another chat may have asked for it
    input.oninput = () => this.changed_();
    nick.onchange = () => {
      nick.value = cleanName(nick.value);
      keep('name', nick.value);
      chat.introduce_();
    };
    composer.onsubmit = (/** @type {SubmitEvent} */ event) => this.submit_(event);
  }

  /** @param {KeyboardEvent} event */
  pressed_(event) {
    if (event.key != 'Enter' || event.shiftKey || event.isComposing || event.keyCode == COMPOSING) return;
    event.preventDefault();
    this.chat_.view_.composer_.requestSubmit();
  }

  /** @param {SubmitEvent} event */
  submit_(event) {
    const { input_: input } = this.chat_.view_;
    event.preventDefault();
    this.chat_.host_.send(input.value);
    input.value = '';
    this.changed_();
    input.focus();
  }

  /** The text has changed. */
  changed_() {
    const { input_: input } = this.chat_.view_;
    keep('text ' + this.chat_.room_, input.value, 'sessionStorage');
    input.style.height = 'auto';
    input.style.height = input.scrollHeight + 'px';
    this.more_ = true;
    if (!this.typed_) this.hint_();
  }

  /** Tells the others that somebody is typing. */
  hint_() {
    const { chat_: chat } = this;
    if (!chat.view_.input_.value) return;
    chat.subscription_.signal('typing', chat.me_());
    this.more_ = false;
    this.typed_ = setTimeout(() => {
      this.typed_ = 0;
      if (this.more_) this.hint_();
    }, HINTS);
  }

  end_() {
    clearTimeout(this.typed_);
  }
}
