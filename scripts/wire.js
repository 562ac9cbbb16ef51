/**
 * What the commands and objects of the protocol are made of: refs, cursors and JSON.
 *
 * @module
 */

/** A new ref, or another id that nobody else has. */
export const random = () => Math.ceil(Math.random() * 1e15);

/**
 * Whether a cursor lies after another one. Epochs have no order: a cursor of another epoch counts as later, and so does any cursor
 * after none.
 * @type {(a?: string, b?: string) => boolean}
 */
export const after = (a = '', b = '', [epoch, offset] = a.split('.'), [other, place] = b.split('.')) =>
  epoch != other || +offset > +place;

/** A value as JSON has it, now, whenever it is sent. It throws if there is no JSON for it. @type {(value: any) => any} */
export const copy = (value) => JSON.parse(JSON.stringify(value));

/** The same for a value that may be undefined. @type {typeof copy} */
export const plain = (value) => (value === undefined ? value : copy(value));

/** The size of a value as JSON, in bytes. */
export const size = (/** @type {any} */ value) => new Blob([JSON.stringify(value)]).size;
