package engines

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/caddy-realtime/realtime/bench/engines/rate"
)

// Options says what to compare. All must be set.
type Options struct {
	Rounds     int
	Publishers []int
	Order      rate.Order // but for Publishers
	Peers      []Peer
	Progress   func(string)
	Result     func(Result) // called with each result as it is there
}

// Peer is one of those that are compared. The first one is that to which the others are held.
type Peer struct {
	Name    string
	Command *exec.Cmd
}

// Result is what one peer came to: medians over the rounds.
type Result struct {
	Name       string
	Publishers int
	Rate       float64 // publications a second
	Ratio      float64 // of that to the first peer's, in the same round
	P50, P99   time.Duration
	Written    float64 // bytes for each message
	Size       int64   // bytes of its files at the end
}

// peer is one that runs.
type peer struct {
	Peer
	in  io.WriteCloser
	out *bufio.Reader
}

// Run compares, until all is done or ctx is.
func Run(ctx context.Context, o Options) error {
	var peers []*peer
	for _, one := range o.Peers {
		p, err := start(one)
		if err != nil {
			return fmt.Errorf("%s: %w", one.Name, err)
		}
		defer p.stop()
		peers = append(peers, p)
	}
	for _, n := range o.Publishers {
		order := o.Order
		order.Publishers = n
		answers := make([][]rate.Answer, len(peers))
		for round := range o.Rounds {
			for i := range peers {
				i = (i + round) % len(peers) // in turn first
				o.Progress(fmt.Sprintf("%d publishers, round %d of %d: %s", n, round+1, o.Rounds, peers[i].Name))
				a, err := peers[i].do(ctx, order)
				if err != nil {
					return fmt.Errorf("%s: %w", peers[i].Name, err)
				}
				answers[i] = append(answers[i], a)
			}
		}
		for i, p := range peers {
			r := summarize(answers[i], answers[0])
			r.Name, r.Publishers = p.Name, n
			o.Result(r)
		}
	}
	return nil
}

// start starts a peer, which ends when we end.
func start(one Peer) (p *peer, err error) {
	p = &peer{Peer: one}
	if p.in, err = p.Command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.Command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	p.Command.Stderr = os.Stderr
	p.Command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p, p.Command.Start()
}

func (p *peer) stop() {
	_ = p.in.Close()
	_, _ = io.Copy(io.Discard, p.out)
	_ = p.Command.Wait()
}

// do has the peer measure.
func (p *peer) do(ctx context.Context, o rate.Order) (a rate.Answer, err error) {
	if err := ctx.Err(); err != nil {
		return a, errors.New("out of time")
	}
	if err := json.NewEncoder(p.in).Encode(o); err != nil {
		return a, err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// summarize returns the medians of answers, and of the ratios to those of the first peer.
func summarize(answers, first []rate.Answer) Result {
	over := func(f func(i int) float64) float64 {
		var all []float64
		for i := range answers {
			all = append(all, f(i))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	perSecond := func(a rate.Answer) float64 { return float64(a.Count) / a.Took.Seconds() }
	return Result{
		Rate:    over(func(i int) float64 { return perSecond(answers[i]) }),
		Ratio:   over(func(i int) float64 { return perSecond(answers[i]) / perSecond(first[i]) }),
		P50:     time.Duration(over(func(i int) float64 { return float64(answers[i].P50) })),
		P99:     time.Duration(over(func(i int) float64 { return float64(answers[i].P99) })),
		Written: over(func(i int) float64 { return float64(answers[i].Written) / float64(answers[i].Count) }),
		Size:    int64(over(func(i int) float64 { return float64(answers[i].Size) })),
	}
}
