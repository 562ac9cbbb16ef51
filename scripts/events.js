/**
 * Events and signals.
 *
 * @module
 */

/** @type {(target: any, type: string, detail: any) => boolean} */
export const emit = (target, type, detail) => target.dispatchEvent(new CustomEvent(type, { detail }));

/**
 * Calls a function when a signal is aborted, or at once if it is already. It returns a function that undoes this.
 * @type {(signal: AbortSignal | undefined, then: () => void) => () => void}
 */
export const onAbort = (signal, then) => {
  if (signal?.aborted) then();
  else signal?.addEventListener('abort', then);
  return () => signal?.removeEventListener('abort', then);
};
