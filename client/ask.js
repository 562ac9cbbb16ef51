/**
 * Requests.
 *
 * @module
 */

/** @typedef {import('./realtime.js').Wire} Wire */

/** A request that is given up by its signal, if it has one, or after so many ms. @type {(url: string, init?: RequestInit, ms?: number) => Promise<Response>} */
export const ask = (url, init, ms = 3e4) => fetch(url, { cache: 'no-store', ...init, signal: init?.signal ?? AbortSignal.timeout(ms) });

/** Asks for no more than an answer. @type {(url: string, ms?: number) => Promise<Response>} */
export const head = (url, ms) => ask(url, { method: 'HEAD' }, ms);

/** Whom the server takes this page for, as a HEAD says: an id, or '' for nobody. */
export const userOf = (/** @type {Response} */ { headers }) => decodeURIComponent(headers.get('Realtime-User') ?? '');

/** What a problem document says, or any other refusal. @type {(response: Response) => Promise<Wire>} */
export const problem = async (response) => ({ ...(await response.json().catch(() => 0)), status: response.status });

/** For how many ms an answer asks not to come back. */
export const retryAfter = (/** @type {Response} */ { headers }) => /** @type {any} */ (headers.get('Retry-After')) * 1e3;

/** A URL with parameters, without those that are nothing. @type {(url: string, parameters: Wire) => string} */
export const extend = (url, parameters) => {
  const extended = new URL(url);
  for (const name in parameters) if (parameters[name]) extended.searchParams.set(name, parameters[name]);
  return extended.href;
};
