// The mocked clock of a test.
import { mock } from 'node:test';

/** Lets everything happen that waits for no timer. */
export const settle = async () => {
  for (let i = 0; i < 50; i++) await new Promise((done) => setImmediate(done));
};

/** Lets `ms` pass, in steps, so that what a timer starts can go on in between. */
export const pass = async (ms) => {
  await settle();
  for (let left = ms; left > 0; left -= 250) {
    mock.timers.tick(Math.min(250, left));
    await settle();
  }
};

/**
 * Mends the mocked timers, until the function that it returns is called: one that is cleared after it
 * has fired takes another one with it (Node.js 20).
 */
export const mend = () => {
  const { setTimeout, setInterval, clearTimeout, clearInterval } = globalThis;
  const alive = new Set();
  globalThis.setTimeout = (then, ms, ...a) => {
    const timer = setTimeout(() => (alive.delete(timer), then(...a)), ms);
    alive.add(timer);
    return timer;
  };
  globalThis.setInterval = (...a) => {
    const timer = setInterval(...a);
    alive.add(timer);
    return timer;
  };
  globalThis.clearTimeout = (timer) => void (alive.delete(timer) && clearTimeout(timer));
  globalThis.clearInterval = (timer) => void (alive.delete(timer) && clearInterval(timer));
  return () => Object.assign(globalThis, { setTimeout, setInterval, clearTimeout, clearInterval });
};
