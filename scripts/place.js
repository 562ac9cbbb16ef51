/**
 * Where a client keeps in sessionStorage what outlives a reload. The clients of a page with the same hub have a place each, which is
 * the name of an item.
 *
 * @module
 */

/** The places that are taken, however often this script is loaded. @returns {Record<string, string>} */
const taken = () => (/** @type {any} */ (globalThis)['realtime.v1'] ??= {});

/** Takes the first place for a hub that is free, from a number on. @type {(hub: string, number?: number, place?: string) => string} */
export const takePlace = (hub, number = 1, place = 'realtime.v1' + hub + number) =>
  taken()[place] ? takePlace(hub, number + 1) : (taken()[place] = place);

/** Leaves a place to another client. */
export const leavePlace = (/** @type {any} */ place) => delete taken()[place];
