/**
 * Where a client keeps in sessionStorage what outlives a reload. The clients of a page with the same hub have a place each, which is
 * the name of an item.
 *
 * @module
 */

/** The places that are taken, however often this script is loaded. @returns {Record<string, number>} */
const taken = () => (/** @type {any} */ (globalThis)['realtime.v1'] ??= {});

/** Takes the first place for a hub that is free. @param {string} hub @returns {string} */
export const takePlace = (hub) => {
  for (let number = 1; ; number++) {
    const place = 'realtime.v1' + hub + number;
    if (!taken()[place]) {
      taken()[place] = 1;
      return place;
    }
  }
};

/** Leaves a place to another client. @param {string | undefined} place */
export const leavePlace = (place) => {
  delete taken()[/** @type {any} */ (place)];
};
