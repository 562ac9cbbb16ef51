// The language of one <realtime-chat>.

import { KEYS, TEXTS } from './realtime-chat-text.js';
import { localeOf } from './realtime-element.js';

export class Words {
  /** @param {HTMLElement} host the element */
  constructor(host) {
    const lang = /** @type {any} */ (host.closest('[lang]'))?.lang || navigator.language;
    const code = lang.slice(0, 2);
    this.host_ = host;
    this.code_ = TEXTS[code] ? code : 'en';
    this.locale_ = localeOf(lang);
    this.times_ = new Intl.DateTimeFormat(this.locale_, { timeStyle: 'short' }); // toLocaleTimeString makes one at each call
  }

  /** One of the texts, with a value in the place of its `#`. @param {string} key @param {any} [value] @returns {string} */
  say_(key, value = '') {
    return (this.host_.getAttribute('text-' + key) ?? TEXTS[this.code_].split('|')[KEYS.indexOf(key)]).replace('#', () => value);
  }

  /** @param {Date} at */
  time_(at) {
    return this.times_.format(at);
  }

  /** @param {Date} at */
  day_(at) {
    return at.toLocaleDateString(this.locale_, { dateStyle: 'full' });
  }
}
