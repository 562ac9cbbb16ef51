package hub

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// However the wall clock steps, nothing ends, and no cursor goes bad.
func TestClockSteps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, steps := range map[string][]time.Duration{
		"forward and back": {year, -year},
		"back and forward": {-year, year},
		"before its time":  {-100 * year, 100 * year},
		"to and fro":       {time.Hour, -2 * time.Hour, time.Second, -time.Second, 3 * year},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := roomOf(t, 0, nil)
				var step atomic.Int64
				h.engine.(*Memory).clock = func() uint64 {
					return uint64(max(time.Now().Add(time.Duration(step.Load())).UnixMicro(), 0))
				}
				c := &clocked{T: t, hub: h}
				c.begin()
				c.goOn()
				for _, d := range steps {
					step.Add(int64(d))
					c.goOn()
				}
			})
		})
	}
}

// clocked is what goes on while a clock steps.
type clocked struct {
	*testing.T
	hub     *Hub
	session *Session
	poll    Position // in the room "r"
	quiet   Position // in a room that is forgotten
	told    int
	last    uint64
}

func (c *clocked) begin() {
	s, err := c.hub.Connect(Client{}, make(WakeChan, 1))
	if err != nil {
		c.Fatal(err)
	}
	c.session = s
	if _, err := s.Subscribe(c.Context(), "r", Start{}); err != nil {
		c.Fatal(err)
	}
	c.poll = tailOf(c.T, c.hub)
	if err := c.hub.Caller(stranger(1)).Renew(c.Context(), "r", nil); err != nil {
		c.Fatal(err)
	}
	c.quiet = c.publish(Publication{Room: "quiet", TTL: time.Millisecond}).Position
}

func (c *clocked) publish(p Publication) Receipt {
	c.Helper()
	r, err := c.hub.Caller(Client{}).Publish(c.Context(), p)
	if err != nil {
		c.Fatal(err)
	}
	if r.Offset <= c.last && !r.Replayed {
		c.Errorf("%d comes after %d", r.Offset, c.last)
	}
	c.last = max(c.last, r.Offset)
	return r
}

// goOn checks that all is as it should be, a second after the last time.
func (c *clocked) goOn() {
	c.Helper()
	<-time.After(time.Second)
	synctest.Wait()
	c.publish(Publication{Room: "r"})
	c.told++
	c.publish(Publication{Room: "other"})
	if r := c.publish(Publication{Room: "key", Key: "k"}); r.Replayed != (c.told > 1) {
		c.Errorf("the key was known: %t", r.Replayed)
	}
	if items, _ := c.session.Next(make([]Item, 0, 9)); len(items) != 1 || items[0].Message == nil || c.session.Ended() != 0 {
		c.Errorf("the session is told %+v, and ended: %v", items, c.session.Ended())
	}
	page := c.read("r", Query{After: c.poll, Limit: 9})
	if page.Gap != nil || len(page.Messages) != 1 {
		c.Errorf("a poll is told %d messages, gap %+v", len(page.Messages), page.Gap)
	}
	c.poll = page.Cursor
	if page = c.read("r", Query{Age: time.Minute, Limit: 99}); len(page.Messages) != c.told {
		c.Errorf("%d messages are no older than a minute, want %d", len(page.Messages), c.told)
	}
	if page = c.read("r", Query{Age: 1500 * time.Millisecond, Limit: 99}); len(page.Messages) != min(c.told, 2) {
		c.Errorf("%d messages are no older than 1.5 s", len(page.Messages))
	}
	if page = c.read("quiet", Query{After: c.quiet, Limit: 9}); page.Gap != nil {
		c.Errorf("the gap %+v in a room where nothing is", page.Gap)
	}
	c.quiet = page.Cursor
	if n, err := c.hub.Caller(Client{}).MemberCount("r"); n != 2 || err != nil {
		c.Errorf("%d are there: %v", n, err)
	}
	if err := c.hub.Check(); err != nil {
		c.Error(err)
	}
}

func (c *clocked) read(room string, q Query) Page {
	c.Helper()
	page, err := c.hub.Caller(Client{}).Read(c.Context(), room, q)
	if err != nil {
		c.Fatal(err)
	}
	return page
}

// Only offsets, what is stored for another process, and what expires elsewhere, too, may know the wall clock. The
// times that these methods return have no monotonic reading, so no duration may be
// computed from them.
func TestDurationsAreMonotonic(t *testing.T) {
	wall := []string{"Unix", "UnixNano", "UnixMicro", "UnixMilli", "Round", "Truncate", "UTC", "Local", "In", "AddDate"}
	var files []string
	for _, pattern := range []string{"*.go", "*/*.go"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	may := map[string]bool{"clock": false, "microseconds": false, "timeOf": false, "due": false, "Revoke": false, "named": false, "refuses": false}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				if _, exempt := may[f.Name.Name]; exempt {
					may[f.Name.Name] = true
					continue
				}
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains(wall, s.Sel.Name) {
					t.Errorf("%v: %s", set.Position(s.Pos()), s.Sel.Name)
				}
				return true
			})
		}
	}
	for name, found := range may {
		if !found {
			t.Errorf("there is no func %s any more: change the test", name)
		}
	}
}
