// Package bolt is an engine that keeps a hub's rooms in a file, so that they outlive the process: a
// bbolt database, which a journal precedes.
//
// One goroutine, the writer, gives out offsets and appends what is published to the journal, all that
// has gathered in one frame. It delivers and answers after that; with sync always, after the journal
// is on the disk. Once a second another goroutine, the follower, begins a new journal and brings the old one into the database
// in one transaction. What the database does not have yet is in memory, too. After the death of the process nothing is
// lost; after a loss of power, what the disk does not have. Since nobody knows then what that was, every room has one gap.
//
// The files are the database at a path, and the journals at that path with ".journal-0" and ".journal-1"
// behind it, which a clean end removes. In the database are these buckets, whose numbers are big endian, and have 8 bytes
// if nothing else is said:
//
//	meta      "file": what never or rarely changes, as JSON; "progress": see type progress
//	rooms     name → row: id, count, last, lost, mortal, checksum
//	names     id → name
//	log       offset → id, checksum of 4 bytes, the message as [message.Message.AppendBinary] writes it
//	index     id, offset → offset of the message before it in the room, when it expires (none: no such bytes)
//	expiries  when, offset → id; in microseconds since 1970
//	empty     last, id → nothing: rooms without messages
//	receipts  offset → scope and fingerprint of 16 bytes each, time, checksum of 4 bytes
//	state     name → version, expiry, checksum of 4 bytes, the value
//	imports   id → up to which offset the room was imported, its epoch there, checksum of 4 bytes; made by the first import
//
// An offset is the greater of the last one plus 1 and the clock in microseconds, over the whole file.
// An imported message has the one that it had.
package bolt
