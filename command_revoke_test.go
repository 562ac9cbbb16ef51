package realtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// runCommand runs a command, and returns what it prints.
func runCommand(cmd *cobra.Command, args ...string) (string, error) {
	var out strings.Builder
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.Execute()
	return out.String(), err
}

// The command ends the connections of whom it revokes, refuses them, and the list has it.
func TestRevokeCommand(t *testing.T) {
	const (
		ann = "Authorization: Basic YW5uOnNlY3JldA=="
		ben = "Authorization: Basic YmVuOnNlY3JldA=="
	)
	s := caddytest.StartAdministered(t, `basic_auth {
	ann $2a$04$q2DnOEYDjuSiUliieZQ/4usnyjFfOTv5xv.KVL6aNq8jzfkbR7QoS
	ben $2a$04$q2DnOEYDjuSiUliieZQ/4usnyjFfOTv5xv.KVL6aNq8jzfkbR7QoS
}
realtime {
	hub office
}`)
	hers, his := s.Dial("lobby", ann), s.Dial("lobby", ben)
	out, err := runCommand(revokeCommand(), "--user", "ann", "--for", "2h", "--hub", "office", "--address", s.Admin)
	if err != nil || !strings.HasPrefix(out, "revoked  user ann\nissued   until ") || !strings.Contains(out, "\nrefused  until ") {
		t.Fatalf("%s %v", out, err)
	}
	if _, b, err := hers.Read(t.Context()); websocket.CloseStatus(err) != 4401 {
		t.Errorf("her connection: %q %v", b, err)
	}
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "hi", ann), 401, "revoked")
	s.Post("lobby", "hello", ben)
	if got := caddytest.Receive(t, his); got != "hello" {
		t.Errorf("his connection gets %q", got)
	}
	config := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(config, []byte(s.Caddyfile("realtime")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = runCommand(revocationsCommand(), "--hub", "office", "--config", config)
	if lines := strings.Split(out, "\n"); err != nil || len(lines) != 3 || !strings.HasPrefix(lines[0], "REVOKED  ID ") || !strings.HasPrefix(lines[1], "user     ann ") {
		t.Errorf("the list is %q, %v", out, err)
	}
	for name, test := range map[string]struct {
		args []string
		err  string
	}{
		"nothing":       {nil, "one of user"},
		"two things":    {[]string{"--user", "ann", "--token", "t"}, "not several"},
		"no such hub":   {[]string{"--user", "ann"}, `the hubs here are \"office\"`},
		"a bad time":    {[]string{"--user", "ann", "--before", "yesterday"}, "--before"},
		"a bad period":  {[]string{"--user", "ann", "--for", "ever", "--hub", "office"}, "must be a duration"},
		"a key":         {[]string{"--key", "rtk_12345678_canary"}, "the id of the key"},
		"no admin API":  {[]string{"--user", "ann", "--address", "127.0.0.1:1"}, "connection refused"},
		"no such file":  {[]string{"--user", "ann", "--config", filepath.Join(t.TempDir(), "none")}, "no such file"},
		"another thing": {[]string{"--room", "x"}, "unknown flag"},
	} {
		args := test.args
		if !strings.Contains(strings.Join(args, " "), "--address") && !strings.Contains(strings.Join(args, " "), "--config") {
			args = append(args, "--address", s.Admin)
		}
		if out, err := runCommand(revokeCommand(), args...); err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %s %v, want an error with %s", name, out, err, test.err)
		}
	}
}
