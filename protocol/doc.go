// Package protocol is what is written and read on every transport: message
// envelopes, control objects, how a body becomes a message's data, and the one
// table of refusals and endings with their statuses and close codes. It is the
// Go side of docs/PROTOCOL.md.
package protocol
