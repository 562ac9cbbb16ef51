package hub

import "errors"

// Errors of a [Caller], beside those of limits and of bad input.
var (
	// ErrScope refuses a room that is not among those of [Client.Scope].
	ErrScope = errors.New("another room than those of the connection")
	// ErrConn is returned where a client without a session must name the
	// connection that it speaks for, see [Client.ID].
	ErrConn = errors.New("no connection was named")
)

// Errors of the door. They depend on the client, the verb, the room's name and the settings alone.
var (
	// ErrUnauthorized refuses what an anonymous client may not do.
	ErrUnauthorized = errors.New("not allowed without signing in")
	// ErrForbidden refuses what a user may not do.
	ErrForbidden = errors.New("not allowed")
	// ErrCredential refuses a client whose credential has expired, has been revoked, or comes
	// from a source that does not count any more.
	ErrCredential = errors.New("the credential does not count any more")
	// ErrNoRoom refuses a room that does not exist, to a client that may not make it; where only
	// declared rooms exist ([settings.Settings.OnlyDeclared]) nobody may make others.
	ErrNoRoom = errors.New("no such room")
)

// Verb is something that a client does in a room, and for which it needs a right.
type Verb uint8

// The verbs.
const (
	VerbSubscribe Verb = iota // receive messages and signals, and be there
	VerbPublish
	VerbSignal
	VerbHistory  // read the log, and where it ends
	VerbMembers  // list and count members
	VerbShow     // show a state to the other members
	VerbModerate // keep order
	VerbCreate   // do one of the first six in a room that does not exist yet
)

// NumVerbs is how many verbs there are.
const NumVerbs = int(VerbCreate) + 1

var verbNames = [...]string{
	VerbSubscribe: "subscribe", VerbPublish: "publish", VerbSignal: "signal",
	VerbHistory: "history", VerbMembers: "members", VerbShow: "show", VerbModerate: "moderate", VerbCreate: "create",
}

// String returns the verb's name, as configurations write it.
func (v Verb) String() string {
	if int(v) >= len(verbNames) {
		return "unknown"
	}
	return verbNames[v]
}
