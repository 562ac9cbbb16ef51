/**
 * Requests.
 *
 * @module
 */
/** @typedef {import('./realtime.js').Wire} Wire */
/** A request that is given up by its signal, if it has one, or after so many ms. @type {(url: string, init?: RequestInit, ms?: number) => Promise<Response>} */
export const ask: (url: string, init?: RequestInit, ms?: number) => Promise<Response>;
/** What a problem document says, or any other refusal. @type {(response: Response) => Promise<Wire>} */
export const problem: (response: Response) => Promise<Wire>;
export function retryAfter({ headers }: Response): number;
/** A URL with parameters, without those that are nothing. @type {(url: string, parameters: Wire) => string} */
export const extend: (url: string, parameters: Wire) => string;
export type Wire = import("./realtime.js").Wire;
