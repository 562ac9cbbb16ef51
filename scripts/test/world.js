// A browser and a server, as far as realtime.js can tell them from real ones.
import { mock } from 'node:test';
import '../realtime-http.js'; // so that it need not be loaded later
import { mend } from './clock.js';

export { pass, settle } from './clock.js';

const shown = (query) => (query.has('state') ? JSON.parse(query.get('state')) : undefined);

/** What everybody may do in a room without rules. */
const ALL = ['publish', 'signal', 'history', 'presence'];
/** The right that a command needs beside reading. */
const NEEDS = { publish: 'publish', signal: 'signal', state: 'presence' };

let loads = 0;

/** The BroadcastChannel of a world. */
const channels = (world) =>
  class {
    constructor(name) {
      this.name = name;
      world.channels.add(this);
    }
    postMessage(data) {
      const copy = structuredClone(data);
      for (const other of world.channels)
        if (other != this && other.name == this.name)
          queueMicrotask(() => {
            if (!world.channels.has(other)) return;
            if (other.frozen) other.frozen.push(copy);
            else other.onmessage({ data: copy });
          });
    }
    close() {
      world.channels.delete(this);
    }
  };

/** The WebSocket of a world. */
const sockets = (world) =>
  class {
    constructor(url, protocol) {
      Object.assign(this, { readyState: 1, url, protocol, sent: [], rooms: {}, closed: false });
      world.sockets.push(this);
      queueMicrotask(() => world.connect(this));
    }
    send(data) {
      if (this.closed) throw new Error('closed');
      if (data != '\n') this.sent.push(JSON.parse(data));
      if (data == '\n') this.pings = (this.pings ?? 0) + 1;
      if (this.deaf) return;
      queueMicrotask(() => (data == '\n' ? this.deliver('\n') : world.command(this, JSON.parse(data))));
    }
    write(object) {
      this.deliver(JSON.stringify(object));
    }
    deliver(data) {
      if (this.frozen) return this.frozen.push(data);
      this.closed || this.deaf || this.onmessage({ data });
    }
    close(code = 1000) {
      if (this.closed) return;
      this.closed = true;
      world.sessions.delete(this);
      queueMicrotask(() => this.onclose?.({ code }));
    }
  };

export class World {
  constructor() {
    mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1e12 });
    this.unmend = mend();
    this.epoch = 'e1';
    this.offset = 100;
    this.logs = {}; // room -> messages
    this.keys = new Map(); // key -> answer
    this.sessions = new Set(); // open sockets and streams
    this.sockets = [];
    this.requests = [];
    this.refuse = {}; // op -> error
    this.first = {}; // room -> the oldest offset kept
    this.lag = false; // while true, the sessions are sent no messages
    this.websocket = 'works'; // or refused, silent, killed
    this.sse = 'works'; // or silent, killed
    this.hostile = ''; // what a middlebox does with streams
    this.hostilePages = ''; // and with long polling
    this.slow = 0; // ms before any answer
    this.limit = 0; // bytes of a message
    this.refuseRoom = ''; // joining it is 403
    this.rights = {}; // room -> what may be done beside reading it; null: it may not be read
    this.lastOfTime = 0; // how many messages `last=10m` gives
    this.status = 0; // of every HTTP answer, if it is to fail
    this.headers = {};
    this.network = true;
    this.storage = {};
    this.locks = [];
    this.channels = new Set();
    this.hidden = false;
    const world = this;
    Object.defineProperty(globalThis, 'navigator', {
      configurable: true,
      writable: true,
      value: { locks: { request: (...a) => world.lock(...a) } },
    });
    Object.assign(globalThis, {
      self: globalThis,
      location: new URL('https://example.com/page'),
      performance: { timeOrigin: 0, now: () => Date.now() },
      sessionStorage: this.storage,
      document: {
        get hidden() {
          return world.hidden;
        },
      },
      fetch: (url, init) => world.fetch(String(url), init ?? {}),
      BroadcastChannel: channels(this),
      WebSocket: sockets(this),
    });
  }

  end() {
    this.unmend();
    mock.timers.reset();
    mock.restoreAll();
  }

  /** A tab: its own window, and what the module knows after loading. */
  async tab(url = '/rt/', options = undefined, storage = undefined) {
    const listeners = {};
    globalThis.addEventListener = (type, listener, { signal }) => {
      (listeners[type] ??= new Set()).add(listener);
      signal.addEventListener('abort', () => listeners[type].delete(listener));
    };
    const own = storage ?? {};
    globalThis.sessionStorage = new Proxy(own, {});
    delete globalThis['realtime.v1']; // another window
    const module = await import(`../realtime.js?${++loads}`);
    // Each tab keeps its own storage, however many there are.
    const use = (run) => {
      globalThis.sessionStorage = own;
      return run();
    };
    const realtime = use(() => new module.Realtime(url, options));
    use(() => realtime.pending('')); // looks at the storage
    return {
      realtime,
      module,
      storage: own,
      fire: (type, fields = {}) => {
        for (const listener of listeners[type] ?? []) listener({ type, ...fields });
      },
    };
  }

  lock(name, { signal, steal }, run) {
    return new Promise((resolve, reject) => {
      const entry = { name, reject, run: () => Promise.resolve(run()).then(resolve, reject).then(() => this.release(entry)) };
      signal?.addEventListener('abort', () => {
        if (this.holder(name) == entry) return;
        this.locks = this.locks.filter((other) => other != entry);
        reject(signal.reason);
      });
      if (steal) {
        const robbed = this.holder(name);
        this.locks = [entry, ...this.locks.filter((other) => other != robbed)];
        robbed?.reject(new DOMException('stolen', 'AbortError'));
      } else this.locks.push(entry);
      if (this.holder(name) == entry) queueMicrotask(entry.run);
    });
  }

  release(entry) {
    if (!this.locks.includes(entry)) return;
    this.locks = this.locks.filter((other) => other != entry);
    const next = this.holder(entry.name);
    if (next) queueMicrotask(next.run);
  }

  holder(name) {
    return this.locks.find((entry) => entry.name == name);
  }

  /** A tab that the browser has frozen: what comes for it waits. */
  freeze(channel, socket) {
    channel.frozen = [];
    socket.frozen = [];
  }

  thaw(channel, socket) {
    const messages = channel.frozen;
    const frames = socket.frozen;
    channel.frozen = socket.frozen = undefined;
    for (const data of messages) channel.onmessage({ data });
    for (const data of frames) socket.deliver(data);
  }

  connect(socket) {
    if (!this.network || this.websocket == 'refused') {
      socket.closed = true;
      return socket.onclose({ code: 1006 });
    }
    if (this.websocket == 'silent') return;
    if (this.slow && !socket.late) return setTimeout(() => socket.closed || ((socket.late = true), this.connect(socket)), this.slow);
    this.sessions.add(socket);
    this.ready(socket, socket.url);
    if (this.websocket == 'killed') setTimeout(() => this.drop(socket, 1006), 1000);
  }

  ready(session, url) {
    session.conn = new URL(url).searchParams.get('conn') ?? 'c' + ++this.offset;
    session.write({ op: 'ready', conn: session.conn, user: this.user, heartbeat: 25, limits: this.limit ? { message: this.limit } : undefined });
  }

  /** Ends one, as a cut network or a server would. */
  drop(session, code = 1006) {
    session.closed = true;
    this.sessions.delete(session);
    session.onclose({ code });
  }

  dropAll(code) {
    for (const session of [...this.sessions]) this.drop(session, code);
  }

  place(cursor) {
    const [epoch, offset] = cursor.split('.');
    return epoch == this.epoch ? +offset : -1;
  }

  /** Where a room's reader begins, and whether it gets a gap. */
  begin(room, since, last) {
    const log = (this.logs[room] ??= []);
    let at = log.length ? this.place(log.at(-1).id) : this.offset;
    let gap;
    if (since) {
      const first = this.first[room] ?? 0;
      at = this.place(since);
      if (at < first) {
        gap = { op: 'gap', room, from: since, to: `${this.epoch}.${first}`, reason: at < 0 ? 'epoch' : 'expired' };
        at = first;
      }
    } else if (typeof last == 'string' && last.endsWith('m')) return this.begin(room, undefined, this.lastOfTime);
    else if (last) at = log.length > last ? this.place(log.at(-1 - last).id) : (this.first[room] ?? 0);
    return { at, gap, cursor: gap ? since : `${this.epoch}.${at}` };
  }

  command(session, command) {
    const { op, room, ref, key } = command;
    if (this.deafTo == op) return;
    const answer = (fields) => ref != null && session.write({ op: 'ok', ref, room, ...fields });
    const refusal = (op == 'join' && room == this.refuseRoom ? { status: 403, title: 'no' } : op != 'leave' && this.refusal(room, NEEDS[op])) || this.refuse[op];
    if (refusal) {
      if (refusal.times && !--refusal.times) delete this.refuse[op];
      return session.write({ op: 'error', ref, room, ...refusal });
    }
    if (op == 'join') {
      const { at, gap, cursor } = this.begin(room, command.since, command.last);
      session.rooms[room] = at;
      answer({ cursor, members: 1, can: this.can(room) });
      session.write({ op: 'presence', room, members: 1, here: [{ id: session.conn, state: command.state }] });
      if (gap) session.write(gap);
      this.pump();
    } else if (op == 'publish' && this.limit && JSON.stringify(command.data).length > this.limit) {
      if (JSON.stringify(command).length > 2 * this.limit + 4096) return this.drop(session, 1009);
      session.write({ op: 'error', ref, room, status: 413, title: 'message too large' });
    } else if (op == 'publish') {
      const scope = [room, this.user?.id ?? command.conn ?? session.conn, key].join();
      let receipt = this.keys.get(scope);
      if (!receipt) this.keys.set(scope, (receipt = this.publish(room, command.data, { key })));
      answer({ id: receipt.id, at: receipt.at });
    } else if (op == 'leave') {
      delete session.rooms[room];
      answer();
    } else if (op == 'signal') {
      for (const other of this.sessions) if (other != session && room in other.rooms) other.write({ ...command, at: 'now' });
    } else answer();
  }

  /** What may be done in a room beside reading it; null: it may not be read. */
  can(room) {
    return room in this.rights ? this.rights[room] : ALL;
  }

  /** The refusal of what is not allowed in a room. */
  refusal(room, right) {
    const can = this.can(room);
    if (can && (!right || can.includes(right))) return undefined;
    return this.user ? { status: 403, title: 'not allowed' } : { status: 401, title: 'not signed in' };
  }

  /** The same as an answer. Browsers do not ask for a password because of such a challenge. */
  problem(room, right) {
    const refusal = this.refusal(room, right);
    const headers = { 'Content-Type': 'application/problem+json', ...(refusal?.status == 401 && { 'WWW-Authenticate': 'Bearer' }) };
    return refusal && new Response(JSON.stringify(refusal), { status: refusal.status, headers });
  }

  /** Changes what may be done in a room, for those who are in it, too. */
  allow(room, can) {
    this.rights[room] = can;
    for (const session of [...this.sessions].filter(({ rooms }) => room in rooms)) {
      session.write(can ? { op: 'can', room, can } : { op: 'left', room, status: 403, title: 'not allowed any more' });
      if (can) continue;
      delete session.rooms[room];
      if (!session.single) continue;
      session.write({ op: 'bye', status: 403 });
      this.drop(session);
    }
  }

  publish(room, data, fields = {}) {
    const message = { id: `${this.epoch}.${++this.offset}`, room, data, at: 'now', ...fields };
    (this.logs[room] ??= []).push(message);
    this.pump();
    return message;
  }

  /** Sends each session what it has not had. */
  pump() {
    if (this.lag) return;
    for (const session of this.sessions)
      for (const room in session.rooms)
        for (const message of this.logs[room] ?? [])
          if (this.place(message.id) > session.rooms[room]) {
            session.rooms[room] = this.place(message.id);
            session.write(message);
          }
  }

  forget(room, offset) {
    this.first[room] = offset;
    this.logs[room] = (this.logs[room] ?? []).filter(({ id }) => this.place(id) > offset);
  }

  restart() {
    this.epoch = 'e' + this.offset;
    this.logs = {};
    this.first = {};
  }

  async fetch(url, { method = 'GET', headers = {}, body, signal }) {
    signal?.throwIfAborted();
    const address = new URL(url);
    const { searchParams: query } = address;
    const request = { method, url: address, query, body, headers, signal };
    this.requests.push(request);
    await null;
    signal?.throwIfAborted();
    if (!this.network) throw new TypeError('network');
    if (this.slow) {
      await new Promise((done) => setTimeout(done, this.slow));
      signal?.throwIfAborted();
    }
    if (this.status) return new Response('{"title":"no","status":1}', { status: this.status, headers: this.headers });
    if (method == 'HEAD') {
      const user = this.user && { 'Realtime-User': encodeURIComponent(this.user.id) };
      return new Response(null, { headers: { 'Realtime-Conn': query.get('conn') ?? 'c' + ++this.offset, ...user } });
    }
    if (method == 'POST' && this.limit && body.length > 2 * this.limit + 4096)
      return new Response('{"title":"message too large"}', { status: 413 });
    if (method == 'POST') {
      const lines = [];
      for (const line of body.split('\n'))
        this.command({ conn: query.get('conn'), rooms: {}, write: (o) => lines.push(JSON.stringify(o)) }, { ref: -1, ...JSON.parse(line) });
      return new Response(lines.map((line) => line.replace('"ref":-1,', '') + '\n').join(''));
    }
    const since = Object.fromEntries((query.get('since') ?? '').split(',').map((pair) => pair.split('=')));
    const rooms = query.getAll('room');
    if (rooms.includes(this.refuseRoom)) return new Response('{"title":"no"}', { status: 403 });
    const page = headers.Accept != 'text/event-stream' && !query.has('wait');
    for (const room of rooms) if (this.refusal(room, page && 'history')) return this.problem(room, page && 'history');
    if (headers.Accept == 'text/event-stream') return this.stream(request, rooms, since);
    if (!query.has('wait')) return Response.json({ messages: this.logs[rooms[0]] ?? [], cursor: 'x', more: false });
    return this.page(request, rooms, since);
  }

  /** What a request meets on its way, if anything. */
  meet(hostile, signal) {
    if (hostile == 'refused' || hostile == 'reset') throw new TypeError('reset');
    if (+hostile) return new Response('no', { status: hostile });
    if (hostile == 'headers') return new Response(new ReadableStream({ start: (it) => setTimeout(() => it.error(new TypeError('reset')), 10) }));
    if (hostile == 'ended') return new Response(new ReadableStream({ start: (it) => it.close() }));
    if (hostile) return new Promise((_, fail) => signal.addEventListener('abort', () => fail(signal.reason)));
  }

  stream({ url, query, signal }, rooms, since) {
    const met = this.meet(this.hostile, signal);
    if (met) return met;
    if (this.sse == 'silent') return new Response(new ReadableStream());
    const session = { rooms: {}, single: rooms.length == 1 };
    const body = new ReadableStream({
      start: (controller) => {
        const end = (how) => {
          if (!this.sessions.delete(session)) return;
          how();
        };
        signal.addEventListener('abort', () => end(() => controller.error(signal.reason)));
        session.text = (text) => controller.enqueue(new TextEncoder().encode(text));
        session.write = (object) => this.sessions.has(session) && session.text(`event: ${object.op}\ndata: ${JSON.stringify(object)}\n\n`);
        session.onclose = () => (this.sessions.add(session), end(() => controller.close()));
        this.sessions.add(session);
        session.text('retry: 2000\n\n');
        this.ready(session, url);
        for (const room of rooms) {
          const { at, gap, cursor } = this.begin(room, since[room], query.get('last'));
          session.rooms[room] = at;
          session.write({ op: 'ok', room, cursor, members: 1, can: this.can(room) });
          session.write({ op: 'presence', room, members: 1, here: [{ id: session.conn, state: shown(query) }] });
          if (gap) session.write(gap);
        }
        this.pump();
        const beat = () => {
          if (!this.sessions.has(session) || this.quiet) return;
          session.text(':\n\n');
          setTimeout(beat, 25_000);
        };
        setTimeout(beat, 25_000);
        if (this.sse == 'killed') setTimeout(() => this.sessions.has(session) && this.drop(session), 1000);
      },
    });
    return new Response(body);
  }

  async page({ query, signal }, rooms, since) {
    const met = await this.meet(this.hostilePages, signal);
    if (met) return met;
    const until = Date.now() + query.get('wait') * 1e3;
    const { epoch } = this;
    const starts = rooms.map((room) => ({ room, ...this.begin(room, since[room], query.get('last')) }));
    for (;;) {
      if (epoch != this.epoch || !this.network) throw new TypeError('network');
      if (rooms.length == 1 && this.refusal(rooms[0])) return this.problem(rooms[0]);
      const messages = starts.flatMap(({ room, at }) => (this.logs[room] ?? []).filter(({ id }) => this.place(id) > at));
      const gaps = starts.flatMap(({ gap }) => gap ?? []);
      if (messages[0] || gaps[0] || Date.now() >= until) {
        const ends = starts.map(({ room, at }) => {
          const last = messages.findLast((message) => message.room == room);
          return [room, last?.id ?? `${this.epoch}.${at}`];
        });
        const single = rooms.length == 1;
        return Response.json({
          ...(single ? { room: rooms[0], cursor: ends[0][1], gap: gaps[0] } : { rooms, cursor: ends.map((e) => e.join('=')).join(), gaps }),
          conn: query.get('conn') ?? 'poller',
          user: this.user,
          messages,
          more: false,
          presence: query.get('presence') == '1' ? rooms.map((room) => ({ op: 'presence', room, members: 1, here: [{ id: 'poller', state: shown(query) }] })) : undefined,
          presence_cursor: 'p.1',
        });
      }
      await new Promise((done, fail) => {
        const timer = setTimeout(done, 100);
        signal.addEventListener('abort', () => (clearTimeout(timer), fail(signal.reason)));
      });
    }
  }
}

/** What came to a subscription, in order. */
export const record = (subscription) => {
  const got = [];
  subscription.addEventListener('message', ({ detail }) => got.push(detail.data));
  return got;
};

/** The events of a type. */
export const events = (target, type) => {
  const got = [];
  target.addEventListener(type, ({ detail }) => got.push(detail));
  return got;
};
