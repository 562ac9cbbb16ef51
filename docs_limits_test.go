package realtime

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dustin/go-humanize"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/protocol"
)

// TestDocsLimits compares docs/LIMITS.md with the options that are limits, their defaults, and
// the fixed limits.
func TestDocsLimits(t *testing.T) {
	written := docLimits(t)
	amount := regexp.MustCompile(`<(n|size|count)>`)
	var options []string
	for _, form := range docSyntax(t) {
		if !amount.MatchString(form) {
			continue
		}
		name, _, _ := strings.Cut(form, " ")
		if bare, inRoom := strings.CutPrefix(name, "room."); inRoom {
			name = "room { " + bare + " }"
		}
		options = append(options, "`"+name+"`")
	}
	d := settings.Defaults()
	for what, want := range map[string]string{
		"`rate`":                        d.Rate.String(),
		"`room { room_rate }`":          d.Policy("a").RoomRate.String(),
		"`max_connections`":             humanize.Comma(int64(d.MaxConnections)),
		"`max_connections_per_address`": fmt.Sprint(d.MaxPerAddress),
		"`max_rooms`":                   humanize.Comma(int64(d.MaxRooms)),
		"`history_memory`":              humanize.IBytes(uint64(d.HistoryMemory)),
		"`max_message_size`":            humanize.IBytes(uint64(d.MaxMessageSize)),
		"`room { history }`":            fmt.Sprint(d.History.Count),
		"a room's name":                 fmt.Sprint(names.MaxRoom, " bytes"),
		"an event's name":               fmt.Sprint(names.MaxEvent, " bytes"),
		"an idempotency key":            fmt.Sprint(names.MaxKey, " bytes"),
		"a media type":                  fmt.Sprint(names.MaxType, " bytes"),
		"a user's id":                   fmt.Sprint(names.MaxUser, " bytes"),
		"a state":                       fmt.Sprint(hub.MaxState>>10, " KiB"),
		"a cursor":                      fmt.Sprint(protocol.MaxCursor>>10, " KiB"),
		"rooms on a connection":         fmt.Sprint(settings.MaxRoomsJoined),
		"rooms in a URL":                fmt.Sprint(protocol.MaxRooms),
		"messages on a page (`limit`)":  fmt.Sprint(protocol.MaxPage),
	} {
		if !strings.Contains(written[what], want) {
			t.Errorf("docs/LIMITS.md: %s has %q, want %s", what, written[what], want)
		}
	}
	for _, option := range options {
		if written[option] == "" {
			t.Errorf("docs/LIMITS.md has no row for the option %s", option)
		}
	}
	for what := range written {
		if strings.HasPrefix(what, "`") && !slices.Contains(options, what) {
			t.Errorf("docs/LIMITS.md has a row for %s, which is no option", what)
		}
	}
}

// docLimits returns the rows of the tables of limits, by their first cell.
func docLimits(t *testing.T) map[string]string {
	t.Helper()
	rows := make(map[string]string)
	for line := range strings.Lines(docSection(docRead(t, "docs/LIMITS.md"), "## Rates")) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 5 || strings.HasPrefix(cells[1], "-") {
			continue
		}
		what := strings.TrimSpace(cells[1])
		if _, again := rows[what]; again && what != "option" && what != "what" {
			t.Errorf("docs/LIMITS.md: %s has two rows", what)
		}
		rows[what] = strings.Join(cells[2:], "|")
	}
	return rows
}
