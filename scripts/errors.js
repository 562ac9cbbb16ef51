/**
 * The error that the client throws, rejects with, and sends as an event.
 *
 * @module
 */

/** Why something was refused. */
export class RealtimeError extends /** @type {new (message: string) => Error & import('./realtime.js').Refusal} */ (/** @type {unknown} */ (Error)) {
  /** @param {import('./realtime.js').Wire} answer */
  constructor(answer) {
    super(answer.detail ?? answer.title ?? answer.status);
    Object.assign(this, answer);
  }
}
