package hub

// Cause says why a session ended. Endings are counted by cause, see
// [Hub.Stats]; protocol turns a cause into a close code or a status.
type Cause uint8

// The causes. The zero Cause means that the session has not ended.
const (
	_              Cause = iota
	CauseLeft            // the client said goodbye, or its poll was answered
	CauseGone            // the connection broke or the client went silent
	CauseProtocol        // the client broke the transport's rules
	CauseInvalid         // what the client sent made no sense
	CauseCommand         // it sent commands that make no sense, and no end to them
	CauseTooLarge        // a message was over the limit
	CauseRate            // too many messages, and no end to them
	CauseSlow            // the client took nothing for too long
	CauseOvertaken       // retention overtook a client whose transport has no gaps
	CauseDraining        // this server hands over to another one
	CauseStopping        // the hub is closing
	CauseInternal        // our own fault
	numCauses
)

var causeNames = [numCauses]string{
	CauseLeft: "left", CauseGone: "gone", CauseProtocol: "protocol", CauseInvalid: "invalid", CauseCommand: "command",
	CauseTooLarge: "too_large", CauseRate: "rate", CauseSlow: "slow", CauseOvertaken: "overtaken",
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
