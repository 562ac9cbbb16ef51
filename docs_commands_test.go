package realtime

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// TestDocsCommands compares the README's table of commands, the help of caddy realtime and its usage
// with the commands that there are.
func TestDocsCommands(t *testing.T) {
	registered := caddycmd.Commands()["realtime"]
	var root cobra.Command
	registered.CobraFunc(&root)
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	slices.Sort(names)
	find := func(pattern, text string) (found []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			found = append(found, m[1])
		}
		return found
	}
	_, after, _ := strings.Cut(docRead(t, "README.md"), "\n**Commands** of `caddy realtime`")
	table, _, _ := strings.Cut(after, "\n**")
	for where, listed := range map[string][]string{
		"README":            find("(?m)^\\| `(\\w+)` \\|", table),
		"caddy help":        find(`(?m)^  (\w+)  `, registered.Long),
		"usage of realtime": strings.Split(registered.Usage, "|"),
	} {
		if !slices.Equal(listed, names) {
			t.Errorf("%s lists %q, and there are %q", where, listed, names)
		}
	}
}
