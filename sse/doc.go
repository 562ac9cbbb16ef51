// Package sse streams a room over HTTP: as server-sent events (WHATWG HTML,
// "Server-sent events"), as NDJSON, or as an HTML document for people without
// script. All are one loop in the handler's goroutine and differ in the bytes.
package sse
