package protocol

import (
	"net/http"
	"time"
)

const (
	// PieceTime is how long a client may take to accept one piece.
	PieceTime = 30 * time.Second
	// PieceSize is how many bytes are written at once: few enough for a slow client to
	// accept within PieceTime.
	PieceSize = 16 << 10
)

// WritePiece writes p to w, whose controller is rc, and flushes it. It fails if that
// takes longer than until the time by. The deadline stays: the caller must remove it
// after the last piece, or it would end an idle HTTP/2 stream, or the next answer on
// an HTTP/1.1 connection.
func WritePiece(w http.ResponseWriter, rc *http.ResponseController, p []byte, by time.Time) error {
	// Only its server bounds a writer without deadlines, such as a test's.
	_ = rc.SetWriteDeadline(by)
	if _, err := w.Write(p); err != nil {
		return err
	}
	return rc.Flush()
}
