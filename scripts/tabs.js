/**
 * The tabs of a browser share a connection: one of them leads, the others follow.
 *
 * @module
 */
import { Connection } from './connection.js';
import { onAbort } from './events.js';
import { random } from './wire.js';

/** @typedef {import('./realtime.js').Wire} Wire */
/** @typedef {import('./realtime.js').Realtime<any>} Realtime */

const FORMER = 1_000; // ms within which the page that this one replaces gives its id up
const QUIET = 10_000; // ms of silence after which the leader is asked for a sign of life
const DOUBT = 2_000; // ms in which it must answer
const WAKE = 1_000; // ms more, in which a tab that was frozen itself finds the answer
const TAKEOVER = 4_000; // ms in which the lock must change hands

/**
 * The tabs that share a hub and its transports, as one of them sees them. The tab that holds the lock of that name leads. A browser may
 * refuse locks or channels: then the tab is alone.
 */
export class Team {
  life_ = new AbortController();
  /** @type {Set<number>} The other tabs that this one leads. */
  tabs_ = new Set();
  /** @type {BroadcastChannel | undefined} */
  channel_;
  /** @type {Connection | undefined} While this tab leads. */
  connection_;
  /** @type {number | undefined} The id of the leader. */
  leader_;
  /** @type {any} The timer that leads to a takeover, while it is unknown whether the leader is alive. */
  doubt_;
  /** @type {any} The timer after which the leader is asked for a sign of life. */
  timer_;

  /**
   * @param {Realtime} page Gets what the leader sends. No other tab of this browser may have its id; a duplicated tab begins with the same one.
   * @param {boolean} alone Whether to share nothing.
   */
  constructor(page, alone) {
    this.page_ = page;
    this.name_ = 'realtime.v1' + page.hub_ + (page.transports_ ?? '');
    this.start_(alone).catch(() => this.separate_());
  }

  /** @param {boolean} alone */
  async start_(alone) {
    const { page_: page, life_: life } = this;
    // Each tab holds the lock of its own id. A page that is reloaded may have to wait for the page that it replaces.
    if (navigator.locks)
      await new Promise((done, fail) => {
        setTimeout(fail, FORMER);
        this.hold_(page.tab_, {}, done).catch(fail);
      }).catch(() => {
        this.hold_(page.copied_(), {}).catch(() => {});
      });
    if (alone || life.signal.aborted) return this.separate_(); // it may have ended meanwhile
    this.channel_ = new BroadcastChannel(this.name_);
    this.channel_.onmessage = ({ data }) => this.take_(data);
    this.join_();
  }

  /**
   * Holds a lock from when it is granted to the end.
   * @param {string | number} name @param {LockOptions} options @param {(value?: any) => void} [then] Is called when it is granted.
   */
  hold_(name, options, then = () => {}) {
    return navigator.locks.request(this.name_ + name, options, () => {
      then();
      return new Promise((/** @type {any} */ done) => onAbort(this.life_.signal, done));
    });
  }

  /** Leads while it has the lock. @param {LockOptions} options */
  request_(options) {
    this.hold_('', options, () => this.open_()).catch(() => {
      if (this.life_.signal.aborted) return;
      if (!this.connection_) return this.separate_();
      // Another tab has taken the lock because this one gave no sign of life.
      this.connection_.relay_({ op: 'bye' });
      this.connection_ = undefined;
      this.join_();
    });
  }

  join_() {
    this.request_({ signal: this.life_.signal });
    this.send_({ op: 'ask' });
  }

  /** Shares nothing from now on. */
  separate_() {
    this.channel_?.close();
    this.channel_ = undefined;
    this.open_();
  }

  open_() {
    const { life_: life, page_: page } = this;
    this.calm_();
    if (life.signal.aborted || this.connection_) return;
    const own = (this.leader_ = random());
    this.connection_ = new Connection(page, (object) => {
      if (own != this.leader_ || life.signal.aborted) return;
      this.tell_({ leader: own, object });
      page.take_(object, own, true);
    });
  }

  /** Sends a command to the leader, which answers at once. If it does not, it is frozen, and this tab takes over. @param {Wire} command */
  send_(command) {
    if (this.connection_) return this.connection_.relay_(command);
    this.tell_({ command });
    this.doubt_ ||= setTimeout(() => {
      this.doubt_ = setTimeout(() => {
        this.doubt_ = setTimeout(() => this.separate_(), TAKEOVER);
        this.request_({ steal: true });
      }, WAKE);
    }, DOUBT);
  }

  /** The leader is alive: stops the timers. */
  calm_() {
    clearTimeout(this.timer_);
    this.doubt_ = clearTimeout(this.doubt_);
  }

  /** @param {Wire} message */
  tell_(message) {
    this.channel_?.postMessage({ tab: this.page_.tab_, ...message });
  }

  /** Takes what another tab has posted: a command if this tab leads, otherwise what the leader sends. @param {Wire} message */
  take_({ tab, leader, command, object }) {
    if (this.connection_) return command && this.relay_(tab, command);
    if (command) return;
    this.calm_();
    this.timer_ = setTimeout(() => this.send_({ op: 'ask' }), QUIET);
    if (leader != this.leader_) {
      this.leader_ = leader;
      this.send_({ op: 'ask' });
    }
    if (object) this.page_.take_(object, leader);
  }

  /** @param {number} tab @param {Wire} command */
  relay_(tab, command) {
    this.tell_({ leader: this.leader_ }); // a sign of life
    if (!this.tabs_.has(tab)) {
      this.tabs_.add(tab);
      // The lock of its id is free when the tab is gone, however it went.
      navigator.locks
        .request(this.name_ + tab, { signal: this.life_.signal }, () => this.connection_?.relay_({ op: 'bye' }, tab))
        .catch(() => {});
    }
    this.connection_?.relay_(command, tab);
  }

  /** Ends it, and the connection if this tab leads. */
  close_() {
    this.send_({ op: 'bye' });
    this.life_.abort();
    this.calm_();
    this.channel_?.close();
    this.channel_ = this.connection_ = undefined;
  }
}
