// What the elements have in common.

/** The hub that an element's script comes from; a bundle says nothing of it. */
const [HOME] = /^.*\/(?=-\/realtime-[^/]*$)/.exec(import.meta.url) ?? ['/rt/'];

/** The hub's URL, of an attribute `src` or none. @param {string | null} src */
export const hubOf = (src) => (src ?? HOME).replace(/\/?$/, '/');

/** Tells the page's author what is missing in a `src`. @param {string | null} src */
export const checkSrc = (src) => {
  if (src && !src.endsWith('/')) console.warn(`src="${src}" needs a slash at its end`);
};

/** A language that this system can write in, or none, which is the system's own. @param {string} [lang] */
export const localeOf = (lang = '') => {
  try {
    return Intl.getCanonicalLocales(lang.replace(/_/g, '-'));
  } catch {
    return [];
  }
};
