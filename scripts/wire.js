/**
 * Refs, cursors and JSON, of which the commands and objects of the protocol consist.
 *
 * @module
 */

/** A new ref, or another unique id. */
export const random = () => Math.ceil(Math.random() * 1e15);

/**
 * Whether a cursor lies after another one. Epochs have no order: a cursor of another epoch counts as later, and so does any cursor
 * after none.
 * @type {(a?: string, b?: string) => boolean}
 */
export const after = (a = '', b = '', [epoch, offset] = a.split('.'), [other, place] = b.split('.')) =>
  epoch != other || +offset > +place;

/** A copy of a value as JSON has it, which later changes of the value don't affect. It throws if the value has no JSON form. @type {(value: any) => any} */
export const copy = (value) => JSON.parse(JSON.stringify(value));

/** The same for a value that may be undefined; what is false is a copy of itself. @type {typeof copy} */
export const plain = (value) => value && copy(value);

/** The size of a value as JSON, in bytes. */
export const size = (/** @type {any} */ value) => new Blob([JSON.stringify(value)]).size;
