/**
 * What all tabs of a browser share: one of them leads, the others follow.
 *
 * @module
 */
import { random } from './connection.js';

/** @typedef {import('./realtime.js').Wire} Wire */
/** @typedef {(command: Wire, tab?: number) => any} Relay */

/** Has something done on abort, once. It returns what takes it back. @type {(signal: AbortSignal | undefined, then: () => void) => () => void} */
export const onAbort = (signal, then) => {
  if (signal?.aborted) then();
  else signal?.addEventListener('abort', then);
  return () => signal?.removeEventListener('abort', then);
};

/**
 * Joins the tabs that share a name. Whoever holds the lock of that name leads. What a browser refuses (locks, channels) is done
 * without: the tab is alone then.
 * @param {string} name
 * @param {boolean} alone Whether to share nothing.
 * @param {number} tab This one's id, which no other one in this browser may have: it is stored, and a duplicated tab has it too.
 * @param {(tell: (object: Wire) => void) => Relay} lead Begins to lead: it gives what takes the tabs' commands, and tells all tabs.
 * @param {(object: Wire, leader: number, own?: boolean) => void} take Is told what the leader tells.
 * @param {() => number} copied Is called first of all if another tab has the id, and gives a new one.
 */
export const share = (name, alone, tab, lead, take, copied) => {
  const { locks } = navigator;
  const life = new AbortController();
  const { signal } = life;
  /** @type {Set<number>} */
  const tabs = new Set();
  /** @type {BroadcastChannel | undefined} */
  let channel;
  /** @type {Relay | undefined} */
  let link; // while this tab leads
  let leader = 0;
  /** @type {any} */
  let doubt; // whether the leader is alive
  /** @type {any} */
  let question;

  /** Holds a lock until the end. @type {(name: string, options: LockOptions, then: (value: any) => void) => Promise<unknown>} */
  const hold = (name, options, then) =>
    locks.request(name, options, () => {
      then(0);
      return new Promise((/** @type {any} */ done) => onAbort(signal, done));
    });

  const post = (/** @type {Wire} */ message) => channel?.postMessage({ tab, ...message });

  const calm = () => {
    clearTimeout(question);
    doubt = clearTimeout(doubt);
  };

  const begin = () => {
    calm();
    if (signal.aborted || link) return;
    const own = (leader = random());
    link = lead((object) => {
      if (own != leader || signal.aborted) return;
      post({ leader, object });
      take(object, own, true);
    });
  };

  /** Nothing is shared. */
  const separate = () => {
    channel?.close();
    channel = undefined;
    begin();
  };

  /** Leads while it has the lock. @param {LockOptions} options */
  const request = async (options) => {
    try {
      await hold(name, options, begin);
    } catch {
      if (signal.aborted) return;
      if (!link) return separate();
      // Another tab has taken the lock, since this one gave no sign of life.
      link({ op: 'bye' });
      link = undefined;
      follow();
    }
  };

  const follow = () => {
    request({ signal });
    send({ op: 'ask' });
  };

  /** To whoever leads, who answers at once. A tab that is frozen does not: another one takes over. @type {Relay} */
  const send = (command) => {
    if (link) return link(command);
    post({ command });
    // Who was frozen itself finds an answer behind the first of these times.
    doubt ||= setTimeout(() => {
      doubt = setTimeout(() => {
        doubt = setTimeout(separate, 4e3);
        request({ steal: true });
      }, 1e3);
    }, 2e3);
  };

  const listen = (/** @type {MessageEvent} */ { data: { tab: other, leader: from, command, object } }) => {
    if (command) {
      if (!link) return;
      post({ leader }); // a sign of life
      // A tab is forgotten when it is gone, however it went.
      if (!tabs.has(other)) locks.request(name + other, { signal }, () => link?.({ op: 'bye' }, other)).catch(() => 0);
      tabs.add(other);
      link(command, other);
    } else if (!link) {
      calm();
      question = setTimeout(send, 1e4, { op: 'ask' });
      if (from != leader) {
        leader = from;
        send({ op: 'ask' });
      }
      if (object) take(object, from);
    }
  };

  (async () => {
    try {
      // A page that was loaded anew may have to wait for its former self.
      if (locks)
        await new Promise((done, fail) => {
          setTimeout(fail, 1e3);
          hold(name + tab, {}, done).catch(fail);
        }).catch(() => {
          hold(name + (tab = copied()), {}, calm).catch(calm);
        });
      if (alone || signal.aborted) return separate(); // it may have ended meanwhile
      channel = new BroadcastChannel(name);
      channel.onmessage = listen;
      follow();
    } catch {
      separate();
    }
  })();

  return {
    send_: send,
    close_() {
      send({ op: 'bye' });
      life.abort();
      calm();
      channel?.close();
      channel = link = undefined;
    },
  };
};
