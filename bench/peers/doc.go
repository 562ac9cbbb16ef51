// Package peers has the servers that are measured: this module in its Caddy, two bare
// loops of writes, the usual hub of goroutines and channels, Nchan and Socket.IO. All
// are child processes with rooms: a client is in the room that its URL names, and what
// it sends goes to every client there, also to itself.
package peers
