package protocol

import (
	"net/http"
	"time"
)

const (
	// PieceTime is how long a client may take nothing of what net/http writes.
	PieceTime = 30 * time.Second
	// PieceSize is how much is written at once, so little that a slow client takes it
	// within PieceTime, in bytes.
	PieceSize = 16 << 10
)

// WritePiece writes p to w, whose controller is rc, and flushes it, by a time. The
// deadline stays: whoever has written the last piece takes it away, since it would
// end an idle HTTP/2 stream, and the next answer of an HTTP/1.1 connection.
func WritePiece(w http.ResponseWriter, rc *http.ResponseController, p []byte, by time.Time) error {
	// A writer that has no deadlines (a test's) is bounded by nothing but its
	// server.
	_ = rc.SetWriteDeadline(by)
	if _, err := w.Write(p); err != nil {
		return err
	}
	return rc.Flush()
}
