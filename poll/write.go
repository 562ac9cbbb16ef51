package poll

import (
	"iter"
	"net/http"
	"time"

	"github.com/caddy-realtime/realtime/protocol"
)

// small is how many bytes are written without a deadline: a socket's buffer takes
// them.
const small = 4 << 10

// Write writes an answer's parts, which may be shared with others. It writes in pieces
// of up to [protocol.PieceSize], for each of which the client has
// [protocol.PieceTime]; after that it gives up. It holds no more than one piece.
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
		_, _ = w.Write(a.bytes) // the client may have gone
		return
	}
	if a.write(); a.failed {
		return
	}
	_ = a.rc.SetWriteDeadline(time.Time{})
}

// answer is an answer that is being written to one client.
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
