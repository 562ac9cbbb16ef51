// As much of a page as <realtime-chat> needs, over the browser and the server of a World.
import { World, pass } from './world.js';

/** An element that keeps what is put into it, and draws nothing. */
class Node extends EventTarget {
  childNodes = [];
  style = { setProperty() {} };
  dataset = {};
  hidden = false;
  value = '';
  scrollTop = 0;
  scrollHeight = 100;
  clientHeight = 50;

  append(...nodes) {
    for (const node of nodes) this.insertBefore(node, null);
  }
  insertBefore(node, place) {
    node.remove?.();
    if (node instanceof Node) node.parentNode = this;
    const at = this.childNodes.indexOf(place);
    this.childNodes.splice(at < 0 ? this.childNodes.length : at, 0, node);
  }
  replaceChildren(...nodes) {
    this.childNodes = [];
    this.append(...nodes);
  }
  remove() {
    if (this.parentNode) this.parentNode.childNodes = this.parentNode.childNodes.filter((it) => it != this);
  }
  get firstChild() {
    return this.childNodes[0];
  }
  get childElementCount() {
    return this.childNodes.length;
  }
  get nextSibling() {
    return this.parentNode.childNodes[this.parentNode.childNodes.indexOf(this) + 1];
  }
  get textContent() {
    return this.childNodes.map((node) => node.textContent ?? node).join('');
  }
  set textContent(text) {
    this.childNodes = text ? [String(text)] : [];
  }
  focus() {}
  requestSubmit() {
    this.onsubmit(new Event('submit'));
  }
}

/** All elements below one that is shown, by their part. */
const shown = (node, found = {}) => {
  if (node.hidden) return found;
  if (node.part) found[node.part] ??= node;
  for (const child of node.childNodes ?? []) shown(child, found);
  return found;
};

/**
 * A page with a chat. `parts()` has its parts that are shown, and `slots()` the names of its slots that are.
 * @param {import('node:test').TestContext} t
 */
export const openChat = async (t, attributes = {}, prepare = (world) => {}) => {
  const world = new World();
  const publish = world.publish.bind(world);
  world.publish = (room, data, fields) => publish(room, data, { at: new Date().toISOString(), ...fields });
  prepare(world);
  globalThis.addEventListener = () => {};
  globalThis.requestAnimationFrame = (then) => setTimeout(then, 16);
  globalThis.cancelAnimationFrame = clearTimeout;
  globalThis.ResizeObserver = class {
    observe() {}
    disconnect() {}
  };
  globalThis.CSSStyleSheet = class {
    replaceSync() {}
  };
  Object.assign(document, { title: '', createElement: (tag) => Object.assign(new Node(), { tag }) });
  const { Chat } = await import('../realtime-chat-live.js');
  const host = Object.assign(new EventTarget(), {
    src: `https://example.com/${Math.random()}/`,
    room: 'lobby',
    name: '',
    transport: 'websocket',
    history: 50,
    form: '',
    closest: (selector) => (selector == '[lang]' ? { lang: attributes.lang ?? 'en' } : null),
    getAttribute: (name) => attributes[name] ?? null,
    ...attributes,
  });
  host.send = (text) => chat.send_(text);
  const root = new Node();
  const chat = new Chat(host, root);
  const errors = [];
  host.addEventListener('realtime-error', ({ detail }) => errors.push(detail));
  t.after(async () => {
    chat.end_();
    await pass(1000);
    world.end();
  });
  await pass(2500);
  const slots = (node = root) => (node.hidden ? [] : [...(node.tag == 'slot' ? [node.name] : []), ...(node.childNodes ?? []).flatMap((it) => slots(it))]);
  return { world, chat, host, errors, parts: () => shown(root), slots: () => slots() };
};
