// A server that knows tokens.
import { World } from './world.js';

export class TokenWorld extends World {
  /** The user of each token that is good. */
  tokens = {};
  /** The token of each handshake and request, in order; undefined where there was none. */
  shown = [];

  /** Takes the token of a handshake or a request, unless it is bad. */
  admit(token) {
    this.shown.push(token);
    if (token !== undefined && !(token in this.tokens)) return false;
    this.user = this.tokens[token];
    return true;
  }

  connect(socket) {
    const offered = [socket.protocol].flat().find((it) => it.startsWith('bearer.'));
    socket.token = offered && Buffer.from(offered.slice('bearer.'.length), 'base64url').toString();
    if (this.network && this.websocket == 'works' && !this.admit(socket.token)) {
      socket.closed = true;
      return socket.onclose({ code: 1006 });
    }
    return super.connect(socket);
  }

  async fetch(url, init = {}) {
    const [, token] = /^Bearer (.*)/.exec(init.headers?.Authorization ?? '') ?? [];
    if (this.network && !this.admit(token)) return new Response('{"title":"bad credential"}', { status: 401 });
    const answer = await super.fetch(url, init);
    for (const session of this.sessions) session.token ??= token;
    return answer;
  }

  command(session, command) {
    if (command.op != 'auth') return super.command(session, command);
    const { ref, token } = command;
    const user = this.tokens[token];
    (this.renewed ??= []).push(token);
    if (!user) return session.write({ op: 'error', ref, status: 401, title: 'bad credential' });
    for (const other of this.sessions) if (other.conn == session.conn) other.token = token;
    session.write({ op: 'ok', ref, conn: this.newConn ?? session.conn, user, expires_ms: 60_000 });
  }

  /** Warns whoever has a token that it expires soon. */
  warn() {
    for (const session of this.sessions) session.write({ op: 'auth', expires_ms: 60_000 });
  }

  /** A token is good no longer. */
  expire(token) {
    delete this.tokens[token];
    for (const session of [...this.sessions].filter((it) => it.token == token)) {
      if (!session.readyState) session.write({ op: 'bye', status: 401 });
      this.drop(session, 4401);
    }
  }
}
