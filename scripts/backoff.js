/**
 * How long to wait, in ms. Each client waits for another time, so that they do not come back all at once.
 *
 * @module
 */

const LONGEST = 3_600_000; // whatever the server says

/** Some time between the two. @type {(least: number, most: number) => number} */
export const between = (least, most) => Math.min(least + Math.random() * (most - least), LONGEST);

/** What the server has told this client to wait, or up to a quarter more. */
export const pause = (/** @type {number} */ ms) => between(ms, ms * 1.25);
