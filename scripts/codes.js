/**
 * The numbers that say why something ended or was refused.
 *
 * @module
 */

// HTTP statuses (RFC 9110, section 15).
export const BAD_REQUEST = 400;
export const UNAUTHORIZED = 401;
export const FORBIDDEN = 403;
export const PRECONDITION_FAILED = 412;
export const CONTENT_TOO_LARGE = 413;
export const TOO_MANY_REQUESTS = 429;
export const INTERNAL_SERVER_ERROR = 500; // and above: the server's fault

/** No HTTP status: the client has given up waiting for the server to confirm it. */
export const UNCONFIRMED = 499;

// Close codes of a WebSocket (RFC 6455, section 7.4.1). REFUSED plus an HTTP status is the code of that status: 4403 for 403.
export const NO_STATUS = 1005;
export const ABNORMAL = 1006;
export const MESSAGE_TOO_BIG = 1009;
export const SERVICE_RESTART = 1012;
export const REFUSED = 4_000;

// Codes of our own, for a transport that received none.
export const BROKEN = 0; // the network is to blame
export const SILENT = 1; // nothing came in time
export const UNTOLD = 2; // the page has not said its token
