// How custom-elements.json is made: npm run manifest.
const lists = ['members', 'attributes', 'events', 'slots', 'cssParts', 'cssProperties'];

/** Leaves out private members: names that end in an underscore. */
const withoutPrivate = {
  name: 'without-private',
  moduleLinkPhase({ moduleDoc }) {
    for (const declaration of moduleDoc.declarations ?? [])
      for (const list of lists) declaration[list] = declaration[list]?.filter(({ name }) => !name?.endsWith('_'));
  },
};

export default {
  globs: ['realtime-chat-element.js', 'realtime-value.js'],
  outdir: '.',
  packagejson: false,
  plugins: [withoutPrivate],
};
