package bolt

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
)

var kills = flag.Int("kills", 3, "how often TestSIGKILL kills a process")

// childPath is where a child finds the file that it publishes to until it is killed.
const childPath = "REALTIME_BOLT_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		publishUntilKilled(path)
	}
	os.Exit(m.Run())
}

// publishUntilKilled publishes on many goroutines and prints what was acknowledged.
func publishUntilKilled(path string) {
	e := New(path, interval, slog.New(slog.DiscardHandler))
	if err := e.Open(context.Background()); err != nil {
		_, _ = fmt.Fprintln(os.Stdout, "open:", err)
		os.Exit(1)
	}
	if os.Getpid()%2 == 0 { // it may be killed in the middle of that
		go func() {
			for {
				if _, _, err := e.Compact(context.Background()); err != nil {
					_, _ = fmt.Fprintln(os.Stdout, "compact:", err)
					os.Exit(1)
				}
			}
		}()
	}
	acknowledged := make(chan string, 256)
	for w := range 16 {
		go func() {
			for i := 0; ; i++ {
				room := fmt.Sprint("room", rand.IntN(20))
				text := fmt.Sprintf("%d.%d.%d", os.Getpid(), w, i)
				r, err := e.Publish(context.Background(), hub.Draft{Message: &hub.Message{Room: room, Data: []byte(text)}})
				if err != nil {
					_, _ = fmt.Fprintln(os.Stdout, "publish:", err)
					os.Exit(1)
				}
				acknowledged <- fmt.Sprintf("%d %s %s .\n", r.Offset, room, text)
			}
		}()
	}
	for line := range acknowledged {
		_, _ = os.Stdout.WriteString(line)
	}
}

// A process that is killed at any time, also while it starts or compacts its file, loses nothing that it has acknowledged, and gives no offset twice. Nobody gets a
// gap.
func TestSIGKILL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rooms.db")
	type sent struct{ room, text string }
	acknowledged := make(map[uint64]sent)
	for range *kills {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), childPath+"="+path)
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(rand.IntN(1000))*time.Millisecond, func() { _ = c.Process.Kill() })
		for lines := bufio.NewScanner(out); lines.Scan(); {
			f := strings.Fields(lines.Text())
			if len(f) != 4 { // the process died in the middle of it
				if strings.Contains(lines.Text(), ":") {
					t.Error(lines.Text())
				}
				continue
			}
			var offset uint64
			_, _ = fmt.Sscan(f[0], &offset)
			if was, twice := acknowledged[offset]; twice {
				t.Errorf("offset %d is that of %v and of %v", offset, was, f)
			}
			acknowledged[offset] = sent{f[1], f[2]}
		}
		_ = c.Wait() // it was killed
		kill.Stop()
	}
	e := opened(t, path, interval)
	if e.info.lossyBegin() != 0 {
		t.Error("the end was taken for a loss")
	}
	found := 0
	for i := range 20 {
		room := fmt.Sprint("room", i)
		at := hub.Position{Epoch: e.info.Epoch, Offset: e.info.Birth}
		for more := true; more; {
			page, err := e.Read(t.Context(), room, hub.Query{After: at, Limit: 1000})
			if err != nil || page.Gap != nil {
				t.Fatalf("%s: %v, %v", room, page.Gap, err)
			}
			for _, m := range page.Messages {
				if a, ok := acknowledged[m.Offset]; ok {
					if found++; a != (sent{room, string(m.Data)}) {
						t.Errorf("%d is %s in %s, acknowledged was %v", m.Offset, m.Data, room, a)
					}
				}
			}
			at, more = page.Cursor, page.More
		}
	}
	t.Logf("%d kills, %d acknowledged, %d found", *kills, len(acknowledged), found)
	if found != len(acknowledged) || found == 0 {
		t.Errorf("%d were acknowledged, %d are there", len(acknowledged), found)
	}
}
