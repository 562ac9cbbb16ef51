package hub

import (
	"slices"
	"time"
)

// Principal is what an [Authorizer] goes by: who a client is, and what is known about it.
type Principal struct {
	User       *User       // nil: nobody knows
	Facts      *Facts      // nil: none
	Credential *Credential // nil: nothing but the address and the facts speaks for it
}

// Credential is what speaks for a client: a token, a key, a link or a cookie that has been
// verified. It does not change; clients may share one.
type Credential struct {
	// Sources are what has vouched for it, such as a key: each is one of [Verifier.Sources].
	// Sessions end when one of them does not count any more.
	Sources []string
	// Grants are rights that it adds to those by the rules; nil: none.
	Grants Granter
	// Issued is when it was made; zero: unknown, which is before any time.
	Issued time.Time
	// Expires is when sessions that were opened with it end, by the wall clock; zero: never.
	Expires time.Time
	// Facts are what was found in it, as [Client.Facts]; nil: nothing.
	Facts *Facts
	// Names are what it is called where it is revoked, besides its user: "token:…", "link:…",
	// "key:…" or "issuer:…".
	Names []string
	// Beside is another one that the client shows, see [Credential.With]; nil: none.
	Beside *Credential
}

// With returns a credential for a client that shows another one, too. It counts as long as both do,
// and has these grants.
func (c *Credential) With(other *Credential, grants Granter) *Credential {
	both := *c
	both.Grants = grants
	both.Sources = append(slices.Clip(c.Sources), other.Sources...)
	both.Beside = other
	if !other.Expires.IsZero() && (both.Expires.IsZero() || other.Expires.Before(both.Expires)) {
		both.Expires = other.Expires
	}
	return &both
}

// Granter says which rights a credential adds. It does not change, and is safe for concurrent use.
type Granter interface {
	// Grants reports whether the verb is granted in the room, and whether it is by the room's
	// exact name.
	Grants(verb Verb, room string) (granted, exactly bool)
}

// Facts are what was found out about a client when it connected. What they mean is the
// authorizer's to know.
type Facts struct{ IDs []string }

// Has reports whether id is among the facts. nil has none.
func (f *Facts) Has(id string) bool { return f != nil && slices.Contains(f.IDs, id) }

// principal returns what an authorizer goes by.
func (c *Client) principal() Principal {
	return Principal{User: c.User, Facts: c.Facts, Credential: c.Credential}
}
