// Package drain checks from outside what reloads and the end of a Caddy do to its clients: thousands
// of them on all transports, in every version of HTTP, while numbered messages are published. Every
// client must see each message of its room once and in order, up to the last one that was acknowledged,
// and must be told to go before its connection ends.
package drain
