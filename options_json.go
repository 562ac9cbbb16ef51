package realtime

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// The errors of an UnmarshalJSON method, like that of caddy.Duration, do not name the
// field. So structs with a duration decode it themselves.

// UnmarshalJSON implements [json.Unmarshaler]: an error names its field, and
// unknown fields are errors, as they are for Caddy.
func (h *Handler) UnmarshalJSON(b []byte) error {
	type plain Handler
	return unmarshalOptions(b, (*plain)(h), map[string]*caddy.Duration{"heartbeat": &h.Heartbeat, "drain": &h.Drain})
}

// UnmarshalJSON implements [json.Unmarshaler]: an error names its room and field.
func (r *Room) UnmarshalJSON(b []byte) error {
	type plain Room
	err := unmarshalOptions(b, (*plain)(r), nil)
	if err == nil {
		return nil
	}
	var named struct{ Pattern string }
	_ = json.Unmarshal(b, &named) // the pattern, if it can be read
	return fmt.Errorf("room %q: %w", named.Pattern, err)
}

// UnmarshalJSON implements [json.Unmarshaler]: an error names its field.
func (h *History) UnmarshalJSON(b []byte) error {
	type plain History
	if err := unmarshalOptions(b, (*plain)(h), map[string]*caddy.Duration{"age": &h.Age}); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler]: an error names its field.
func (p *Presence) UnmarshalJSON(b []byte) error {
	type plain Presence
	if err := unmarshalOptions(b, (*plain)(p), map[string]*caddy.Duration{"grace": &p.Grace}); err != nil {
		return fmt.Errorf("presence: %w", err)
	}
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler]: an error names its field.
func (a *Allow) UnmarshalJSON(b []byte) error {
	type plain Allow
	if err := unmarshalOptions(b, (*plain)(a), nil); err != nil {
		return fmt.Errorf("allow: %w", err)
	}
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler]: an error names its field.
func (j *JWT) UnmarshalJSON(b []byte) error {
	type plain JWT
	durations := map[string]*caddy.Duration{"max_lifetime": &j.MaxLifetime, "leeway": &j.Leeway}
	if err := unmarshalOptions(b, (*plain)(j), durations); err != nil {
		return fmt.Errorf("jwt: %w", err)
	}
	return nil
}

// unmarshalOptions decodes a struct without methods. Its durations are given by the names of
// their fields.
func unmarshalOptions(b []byte, to any, durations map[string]*caddy.Duration) error {
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	if len(durations) > 0 {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(b, &fields); err != nil {
			return err
		}
		for field, value := range fields {
			name := strings.ToLower(field) // encoding/json ignores case, too
			if d, ok := durations[name]; ok && json.Unmarshal(value, d) != nil {
				return fmt.Errorf(`invalid %s %.100s: must be a duration like "30s", "10m" or "7d", or -1`, name, value)
			}
		}
	}
	return decoder.Decode(to)
}
