package poll

import (
	"iter"
	"net/http"
	"time"

	"github.com/caddy-realtime/realtime/protocol"
)

// small is what is written without a bound of time: a socket's buffer takes it.
const small = 4 << 10

// Write writes an answer's parts, each of which may be shared with others. It
// gathers what is small and writes in pieces, for each of which the client has 30
// seconds; whoever takes longer is left. Nothing is held but a piece.
func Write(w http.ResponseWriter, parts iter.Seq[[]byte]) {
	a := answer{w: w, rc: http.NewResponseController(w)}
	for part := range parts {
		for len(part) > 0 && !a.failed {
			n := min(len(part), protocol.PieceSize-len(a.bytes))
			a.bytes = append(a.bytes, part[:n]...)
			if part = part[n:]; len(a.bytes) == protocol.PieceSize {
				a.write()
			}
		}
		if a.failed {
			return
		}
	}
	if !a.begun && len(a.bytes) <= small {
		_, _ = w.Write(a.bytes) // whoever has gone does not need it
		return
	}
	if a.write(); a.failed {
		return
	}
	_ = a.rc.SetWriteDeadline(time.Time{})
}

// answer is what is being written to one client.
type answer struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	bytes  []byte // the next piece
	begun  bool
	failed bool
}

func (a *answer) write() {
	err := protocol.WritePiece(a.w, a.rc, a.bytes, time.Now().Add(protocol.PieceTime))
	a.bytes, a.begun, a.failed = a.bytes[:0], true, err != nil
}
