// Package peers has the servers that are measured: this module in its Caddy, two
// bare loops of writes, the usual hub of goroutines and channels, Nchan and
// Socket.IO. All are child processes with rooms: whoever connects is in the room
// that the URL names, and what he sends goes to all in it, to himself as well.
package peers
