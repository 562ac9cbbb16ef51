/**
 * Requests.
 *
 * @module
 */

/** @typedef {import('./realtime.js').Wire} Wire */

const SOON = 4_000; // ms in which a HEAD must be answered where much depends on it
const LATE = 30_000; // ms in which any other request must be

/** Makes a request. It ends with its signal or, if it has none, after a time in ms. @type {(url: string, init?: RequestInit, ms?: number) => Promise<Response>} */
export const ask = (url, init, ms = LATE) => fetch(url, { cache: 'no-store', ...init, signal: init?.signal ?? AbortSignal.timeout(ms) });

/** Asks for the status and the headers alone. @type {(url: string) => Promise<Response>} */
export const head = (url) => ask(url, { method: 'HEAD' });

/** The same where it must be answered soon. @type {(url: string) => Promise<Response>} */
export const probe = (url) => ask(url, { method: 'HEAD' }, SOON);

/** The id of the user that the server takes this page for, from the answer to a HEAD; '' for an anonymous one. */
export const userOf = (/** @type {Response} */ response) => decodeURIComponent(response.headers.get('Realtime-User') ?? '');

/** Asks the server which user it takes this page for. It rejects if the server cannot be reached. */
export const whoAmI = async (/** @type {string} */ url) => userOf(await probe(url));

/** Reads a refusal: a problem document, or only the status of another answer. @type {(response: Response) => Promise<Wire>} */
export const problem = async (response) => ({ ...(await response.json().catch(() => 0)), status: response.status });

/** How many ms an answer asks the client to wait; 0 or NaN if it does not. */
export const retryAfter = (/** @type {Response} */ response) => /** @type {any} */ (response.headers.get('Retry-After')) * 1e3;

/** A URL with parameters, without those that are empty. @type {(url: string, parameters: Wire) => string} */
export const extend = (url, parameters) => {
  const extended = new URL(url);
  for (const name in parameters) if (parameters[name]) extended.searchParams.set(name, parameters[name]);
  return extended.href;
};
