// Package protocol encodes and decodes what all transports have in common: message
// envelopes, control objects and commands, the data of a published body, and the one
// table of refusals and endings with their statuses and close codes. It is the Go
// side of docs/PROTOCOL.md.
package protocol
