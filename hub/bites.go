package hub

import (
	"strconv"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The part of the hub that logs what limits refuse.

// bite logs the first refusal by each limit since Configure, with the client and the
// room.
func (h *Hub) bite(err error, c *Client, room string) error {
	return h.warn(err, "", c, room)
}

// biteAddress is bite for limits that count by address. It is logged beside the same
// limit of a connection, since it may be everybody's address that was refused.
func (h *Hub) biteAddress(err error, c *Client, room string) error {
	return h.warn(err, "all clients of a proxy count as its one address: is this a proxy? Then name it in trusted_proxies", c, room)
}

// biteUser is bite for limits that count by user. A backend is one, which is meant to be shared.
func (h *Hub) biteUser(err error, c *Client, room string) error {
	if c.isBackend() {
		return h.bite(err, c, room)
	}
	return h.warn(err, "all connections and requests of one user count together: do several people share this user?", c, room)
}

// biteQuota returns the refusal of what exceeds a quota, and logs the first one of each
// room rule.
func (h *Hub) biteQuota(name string, q settings.Quota, c *Client, room string) error {
	return h.warn(limit.Full(name, q.Max), "this is the limit of the rooms that match "+strconv.Quote(q.Pattern), c, room)
}

// warn logs a refusal if it is the first one of its limit and with its hint.
func (h *Hub) warn(err error, hint string, c *Client, room string) error {
	e, ok := err.(*limit.Error) //nolint:errorlint // made by the caller, never wrapped
	if !ok {
		return err
	}
	if _, before := h.bitten.LoadOrStore(e.Limit+hint, true); before {
		return err
	}
	attributes := []any{"limit", e.Limit, "value", e.Max}
	if room != "" {
		attributes = append(attributes, "room", room)
	}
	if c.Address.IsValid() {
		attributes = append(attributes, "address", c.Address.Unmap().String())
	}
	if hint != "" {
		attributes = append(attributes, "hint", hint)
	}
	h.log.Load().Warn("a limit was reached for the first time", attributes...)
	return err
}
