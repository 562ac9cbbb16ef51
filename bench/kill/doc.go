// Package kill checks from outside what an engine that outlives its process promises: a Caddy is killed
// again and again, at any moment, also in the middle of its start, while clients on all transports read
// and publishers publish. Both come back as the product's own clients do: readers with their cursors, publishers
// with their idempotency keys. At the end every room is read from its beginning, and compared with what was
// acknowledged and with what each reader has got.
package kill
