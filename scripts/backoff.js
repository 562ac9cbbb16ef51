/**
 * How long to wait, in ms. Each client waits for a different time, so that they don't all come back at once.
 *
 * @module
 */

const LONGEST = 3_600_000; // even if the server names a longer time

/** A random time between the two. @type {(least: number, most: number) => number} */
export const between = (least, most) => Math.min(least + Math.random() * (most - least), LONGEST);

/** The time that the server asks for, or up to a quarter more. */
export const pause = (/** @type {number} */ ms) => between(ms, ms * 1.25);
