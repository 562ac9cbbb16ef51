/**
 * Requests.
 *
 * @module
 */

/**
 * @typedef {import('./realtime.js').Wire} Wire
 * @typedef {import('./realtime.js').Realtime<any>} Realtime
 */

const SOON = 4_000; // ms in which a HEAD must be answered where much depends on it

/** Asks for the status and the headers alone, which must come soon. @type {(page: Realtime) => Promise<Response>} */
export const probe = (page) => page.ask_(page.hub_, { method: 'HEAD' }, SOON);

/** The id of the user that the server takes this page for, from the answer to a HEAD; '' for an anonymous one. */
export const userOf = (/** @type {Response} */ response) => decodeURIComponent(response.headers.get('Realtime-User') ?? '');

/** Asks the server which user it takes this page for. It rejects if the server cannot be reached. */
export const whoAmI = (/** @type {Realtime} */ page) => probe(page).then(userOf);

/** Reads a refusal: a problem document, or only the status of another answer. @type {(response: Response) => Promise<Wire>} */
export const problem = (response) =>
  response
    .json()
    .catch(() => 0)
    .then((document) => ({ ...document, status: response.status }));

/** How many ms an answer asks the client to wait; 0 or NaN if it does not. */
export const retryAfter = (/** @type {Response} */ response) => /** @type {any} */ (response.headers.get('Retry-After')) * 1e3;

/** A URL with parameters, without those that are empty. @type {(url: string, parameters: Wire) => string} */
export const extend = (url, parameters) => {
  const extended = new URL(url);
  for (const name in parameters) if (parameters[name]) extended.searchParams.set(name, parameters[name]);
  return extended.href;
};
