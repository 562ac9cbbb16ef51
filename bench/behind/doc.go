// Package behind measures what members of a room that come back with an old cursor do to the others: the room is a real
// one in a Caddy, messages are published by the clock, and some members have thousands of messages to catch up with.
package behind
