package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"
)

// roundTime bounds how long one round may take.
const roundTime = 20 * time.Second

// Order is a command to the process with the clients, as one line of JSON.
type Order struct {
	Op     string // connect, publish, round, drop or nothing
	Port   int    `json:",omitempty"`
	Path   string `json:",omitempty"`
	Kind   Kind   `json:",omitempty"`
	TLS    bool   `json:",omitempty"`
	N      int    `json:",omitempty"` // connections that are opened
	Number uint64 `json:",omitempty"` // of the first message
	Burst  int    `json:",omitempty"` // messages of one round
	Size   int    `json:",omitempty"` // bytes of a message
}

// answer is the answer to an Order.
type answer struct {
	Error string `json:",omitempty"`
}

// Serve carries out orders from in until it ends, and answers each on out.
func Serve(in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	p, err := NewPool()
	if err != nil {
		return err
	}
	defer p.Close()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var o Order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		var a answer
		if err := p.do(o); err != nil {
			a.Error = err.Error()
		}
		if err := json.NewEncoder(out).Encode(a); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (p *Pool) do(o Order) error {
	switch o.Op {
	case "connect":
		return p.Connect(context.Background(), Target{
			Port: o.Port, Kind: o.Kind, TLS: o.TLS, Path: func(int) string { return o.Path },
		}, o.N)
	case "drop":
		p.Drop()
		return nil
	case "round":
		p.Expect(o.Size)
		return p.Collect(int64(o.Burst*p.open), p.open, roundTime)
	case "nothing":
		return nil
	case "publish":
		return p.PublishBurst(0, o.Number, o.Burst, o.Size)
	default:
		return errors.New("no such order: " + o.Op)
	}
}

// Remote is a pool in another process, which reads orders from its input.
type Remote struct {
	in  io.Writer
	out *bufio.Reader
}

// NewRemote returns the pool behind the two ends of a pipe.
func NewRemote(in io.Writer, out io.Reader) *Remote {
	return &Remote{in: in, out: bufio.NewReader(out)}
}

// Do has an order carried out, and returns what went wrong.
func (r *Remote) Do(o Order) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if _, err := r.in.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("the clients: %w", err)
	}
	line, err := r.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the clients: %w", err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return err
	}
	if a.Error != "" {
		return errors.New("the clients: " + a.Error)
	}
	return nil
}

// AppendFrame appends a message as a server sends it on a WebSocket.
func AppendFrame(b []byte, number uint64, size int) []byte {
	b = append(b, 0x80|opText)
	switch {
	case size <= 125:
		b = append(b, byte(size))
	case size <= 0xffff:
		b = append(b, 126, byte(size>>8), byte(size))
	default:
		b = append(b, 127, 0, 0, 0, 0, byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
	}
	return AppendMessage(b, number, 0, size)
}

// AppendEvent appends a message as a chunk with a server-sent event.
func AppendEvent(b []byte, number uint64, size int) []byte {
	event := AppendMessage(fmt.Appendf(nil, "id: abcdefghijkl.%d\ndata: ", number), number, 0, size)
	return fmt.Appendf(b, "%x\r\n%s\n\n\r\n", len(event)+2, event)
}
