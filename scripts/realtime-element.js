// Shared by the elements.

/** The hub that an element's script comes from; `/rt/` in a bundle, whose URL does not name it. */
const [HOME] = /^.*\/(?=-\/realtime-[^/]*$)/.exec(import.meta.url) ?? ['/rt/'];

/** The hub's URL, from an attribute `src` or, without one, from the script's URL. @param {string | null} src */
export const hubOf = (src) => (src ?? HOME).replace(/\/?$/, '/');

/** Warns the page's author about a `src` without its slash. @param {string | null} src */
export const checkSrc = (src) => {
  if (src && !src.endsWith('/')) console.warn(`src="${src}" needs a slash at its end`);
};

/** The language for formatting; none, which means the system's own, if it is invalid. @param {string} [lang] */
export const localeOf = (lang = '') => {
  try {
    return Intl.getCanonicalLocales(lang.replace(/_/g, '-'));
  } catch {
    return [];
  }
};
