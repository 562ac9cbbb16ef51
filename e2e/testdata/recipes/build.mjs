// Makes one script for a browser of a recipe: node build.mjs <folder> <file>, where the file is Room.jsx, Room.vue or
// Room.svelte. It writes main.js, which shows the component and lets a test change its name by show(name).

import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { compile } from 'svelte/compiler';
import { compileScript, parse } from 'vue/compiler-sfc';

const [folder, file] = process.argv.slice(2);

const MAINS = {
  'Room.jsx': `
    import { StrictMode, createElement } from 'react';
    import { createRoot } from 'react-dom/client';
    import { Room } from './Room.jsx';
    const root = createRoot(document.getElementById('app'));
    globalThis.show = (name) => root.render(createElement(StrictMode, {}, name && createElement(Room, { name })));`,
  'Room.vue': `
    import { createApp, h, shallowRef } from 'vue';
    import Room from './Room.vue';
    const name = shallowRef('');
    createApp({ render: () => name.value && h(Room, { name: name.value }) }).mount('#app');
    globalThis.show = (it) => { name.value = it; };`,
  'Room.svelte': `
    import { mount } from 'svelte';
    import { writable } from 'svelte/store';
    import Main from './Main.svelte';
    const name = writable('');
    mount(Main, { target: document.getElementById('app'), props: { name } });
    globalThis.show = name.set;`,
};
writeFileSync(join(folder, 'start.js'), MAINS[file] + `\nimport { realtime } from './hub.js';\nglobalThis.realtime = realtime;\nshow('one');`);
writeFileSync(join(folder, 'Main.svelte'), `<script>
  import Room from './Room.svelte'
  const { name } = $props()
</script>
{#if $name}<Room name={$name} />{/if}`);

const components = {
  name: 'components',
  setup(build) {
    build.onLoad({ filter: /\.svelte$/ }, async ({ path }) => {
      const { js, warnings } = compile(await readFile(path, 'utf8'), { filename: path, generate: 'client' });
      return { contents: js.code, warnings: warnings.map(({ message: text }) => ({ text })) };
    });
    build.onLoad({ filter: /\.vue$/ }, async ({ path }) => {
      const { descriptor, errors } = parse(await readFile(path, 'utf8'), { filename: path });
      if (errors.length) return { errors: errors.map(({ message: text }) => ({ text })) };
      return { contents: compileScript(descriptor, { id: 'room', inlineTemplate: true }).content };
    });
  },
};

await build({
  entryPoints: [join(folder, 'start.js')],
  outfile: join(folder, 'main.js'),
  bundle: true,
  format: 'esm',
  jsx: 'automatic',
  conditions: ['browser', 'svelte'],
  nodePaths: [new URL('node_modules', import.meta.url).pathname],
  define: { 'process.env.NODE_ENV': '"development"', __VUE_OPTIONS_API__: 'false', __VUE_PROD_DEVTOOLS__: 'false', __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false' },
  plugins: [components],
  logLevel: 'warning',
});
