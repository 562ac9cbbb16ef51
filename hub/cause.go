package hub

// Cause says why a session ended. Endings are counted by cause, see
// [Hub.Stats]; protocol turns a cause into a close code or a status.
type Cause uint8

// The causes. The zero Cause means that the session has not ended.
const (
	_               Cause = iota
	CauseLeft             // the client closed the connection, or its poll was answered
	CauseGone             // the connection broke or the client went silent
	CauseProtocol         // the client broke the transport's rules
	CauseInvalid          // the client sent text that is not UTF-8
	CauseCommand          // too many invalid commands in a row
	CauseTooLarge         // a message was over the limit
	CauseRate             // it published too fast for too long
	CauseSlow             // the client took nothing for too long
	CauseOvertaken        // retention overtook a client whose transport has no gaps
	CauseDraining         // this server hands over to another one
	CauseStopping         // the hub is closing
	CauseForbidden        // it may not be in its room any more
	CauseNoRoom           // its room does not exist any more
	CauseCredential       // its credential has expired, or does not count any more
	CauseUser             // it has shown the credential of another user
	CauseAgain            // what let it in has to be found out again: it may come back
	CauseInternal         // our own fault
	numCauses
)

var causeNames = [numCauses]string{
	CauseLeft: "left", CauseGone: "gone", CauseProtocol: "protocol", CauseInvalid: "invalid", CauseCommand: "command",
	CauseTooLarge: "too_large", CauseRate: "rate", CauseSlow: "slow", CauseOvertaken: "overtaken",
	CauseForbidden: "forbidden", CauseNoRoom: "no_room", CauseCredential: "credential", CauseUser: "user", CauseAgain: "again",
	CauseDraining: "draining", CauseStopping: "stopping", CauseInternal: "internal",
}

// String returns the cause's label, as logs and metrics carry it.
func (c Cause) String() string {
	if c == 0 || c >= numCauses {
		return "none"
	}
	return causeNames[c]
}

// Causes returns every cause in order.
func Causes() []Cause {
	all := make([]Cause, 0, numCauses-1)
	for c := CauseLeft; c < numCauses; c++ {
		all = append(all, c)
	}
	return all
}
