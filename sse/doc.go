// Package sse streams rooms over HTTP: as server-sent events (WHATWG HTML,
// "Server-sent events"), as NDJSON, or as an HTML document for browsers that run no
// script. The formats differ only in their bytes.
//
// A stream over HTTP/1.1 leaves net/http after its opening and is written by
// outbound. Other streams stay in their handler, as one loop.
package sse
