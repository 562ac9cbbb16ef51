package realtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
)

// explanation is what the command caddy realtime explain is asked.
type explanation struct {
	config, adapter, hub string
	room, user, verb     string
	guest                bool
	matching             []string // names of matchers that match
	claims               []string // of the token, as path=value
}

// explainCommand returns the command caddy realtime explain.
func explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain --room <room> [--user <id>] [--verb <verb>] [--guest] [--matching <@name>] [--claim <path=value>] [--hub <name>] [--config <path>] [--adapter <name>]",
		Short: "Says who may do what in a room, and which allow decides",
		Long: `
Says what a client may do in a room, and which allow of a configuration decides
about each verb. Without --user the client is anonymous, or with --guest a guest.
--matching names a matcher that matches the client's request, like @staff, and
--claim a claim of its token, like role=admin; both may be repeated. What tokens
and links grant beside the configuration is not known here.

It reads the configuration like caddy run does, and asks no running Caddy.`,
		Example: `  caddy realtime explain --room staff/plan --user ben
  caddy realtime explain --room office/plan --matching @office --verb publish`,
		Args: cobra.NoArgs,
	}
	var e explanation
	flags := cmd.Flags()
	flags.StringVar(&e.room, "room", "", "The room's name")
	flags.StringVar(&e.user, "user", "", "The user's id; empty for an anonymous client")
	flags.BoolVar(&e.guest, "guest", false, "The client is a guest")
	flags.StringArrayVar(&e.claims, "claim", nil, "A claim of the client's token, as path=value")
	flags.StringVar(&e.verb, "verb", "", "One verb instead of all")
	flags.StringSliceVar(&e.matching, "matching", nil, "A named matcher that matches")
	flags.StringVar(&e.hub, "hub", "", "The hub's name")
	flags.StringVarP(&e.config, "config", "c", "", "Configuration file (default Caddyfile)")
	flags.StringVarP(&e.adapter, "adapter", "a", "", "Name of the config adapter to apply")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		config, _, _, err := caddycmd.LoadConfig(e.config, e.adapter)
		if err != nil {
			return err
		}
		return e.print(cmd.OutOrStdout(), config)
	}
	return cmd
}

// print writes the decisions for a configuration in JSON.
func (e *explanation) print(w io.Writer, config []byte) error {
	if err := names.CheckRoom(e.room); err != nil {
		return fmt.Errorf("invalid --room %q: %w", e.room, err)
	}
	verbs, _, err := access.ParseVerbs("", []string{"all"})
	if e.verb != "" {
		var rest []string
		if verbs, rest, err = access.ParseVerbs("", []string{e.verb}); len(rest) > 0 {
			err = fmt.Errorf("invalid --verb %q: must be %s", e.verb, verbForms)
		}
	}
	if err != nil {
		return err
	}
	rules, facts, err := e.rulesOf(config)
	if err != nil {
		return err
	}
	user := e.user
	if e.guest {
		if user != "" {
			return errors.New("--guest and --user exclude each other")
		}
		user = message.GuestID("example")
	}
	rows := []string{"VERB\tALLOWED\tBY\n"}
	for _, v := range verbs {
		d := rules.Explain(access.Principal{User: user, Facts: facts}, v, e.room)
		allowed := "no"
		if d.Allowed {
			allowed = "yes"
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\n", v, allowed, because(d)))
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(table, strings.Join(rows, "")); err != nil {
		return err
	}
	return table.Flush()
}

// because says which rule decides.
func because(d access.Decision) string {
	if len(d.Who) == 0 && d.Verb == hub.VerbModerate {
		return "nothing allows moderate, so it is nobody's"
	}
	if len(d.Who) == 0 {
		return "nothing allows " + d.Verb.String() + ", so it is open to anyone"
	}
	var whos []string
	for _, who := range d.Who {
		whos = append(whos, textOf(who))
	}
	return allowAt(d.Pattern) + " " + d.Verb.String() + " " + strings.Join(whos, ", ")
}

// textOf returns who as it is written in a Caddyfile.
func textOf(who access.Who) string {
	if who.Kind == access.Named {
		return "user " + strings.Join(who.IDs, " ")
	}
	if who.Kind == access.Fact {
		return who.Name
	}
	for name, kind := range whos {
		if kind == who.Kind {
			return name
		}
	}
	return "?"
}

// rulesOf returns the rules of the hub, and what the matchers tell that match.
func (e *explanation) rulesOf(config []byte) (*access.Rules, *hub.Facts, error) {
	var handlers []*Handler
	if err := findHandlers(config, &handlers); err != nil {
		return nil, nil, err
	}
	handlers = slices.DeleteFunc(handlers, func(h *Handler) bool { return h.Hub != e.hub })
	if len(handlers) == 0 {
		return nil, nil, errors.New("the configuration has no realtime handler with this hub")
	}
	for _, h := range handlers {
		rules, _, err := h.rights()
		if err != nil {
			return nil, nil, err
		}
		if rules != nil { // others of the same hub say the same, or nothing
			return rules, h.factsNamed(e.matching, e.claims), nil
		}
	}
	return new(access.Rules), nil, nil
}

// factsNamed returns what the matchers of these names tell if they match, and what claims tell that
// are given as path=value.
func (h *Handler) factsNamed(matching, claims []string) *hub.Facts {
	facts := new(hub.Facts)
	_ = h.allows(func(_ string, a *Allow) error {
		switch {
		case len(a.MatchRaw) > 0 && slices.Contains(matching, a.Name):
			facts.IDs = append(facts.IDs, factID(a.MatchRaw, ""))
		case a.Who == claim && slices.ContainsFunc(a.Values, func(v string) bool { return slices.Contains(claims, a.Claim+"="+v) }):
			facts.IDs = append(facts.IDs, a.claimID())
		}
		return nil
	})
	return facts
}

// findHandlers appends the realtime handlers below a value of a configuration in JSON.
func findHandlers(raw json.RawMessage, handlers *[]*Handler) error {
	var object map[string]json.RawMessage
	var list []json.RawMessage
	switch {
	case json.Unmarshal(raw, &object) == nil:
		if string(object["handler"]) == `"realtime"` {
			h := new(Handler)
			*handlers = append(*handlers, h)
			delete(object, "handler")
			own, err := json.Marshal(object)
			if err != nil {
				return err
			}
			return json.Unmarshal(own, h)
		}
		for _, value := range object {
			if err := findHandlers(value, handlers); err != nil {
				return err
			}
		}
	case json.Unmarshal(raw, &list) == nil:
		for _, value := range list {
			if err := findHandlers(value, handlers); err != nil {
				return err
			}
		}
	}
	return nil
}
