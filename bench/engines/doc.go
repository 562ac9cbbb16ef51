// Package engines compares how fast engines take messages, and what they write to the disk for that: each in
// a process of its own, in turn. Mercure's transport on bbolt is beside them, if it can be had.
package engines
