package realtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	backend              string // its name
	guest                bool
	running              bool     // ask the running Caddy
	address              string   // of its admin API
	matching             []string // names of matchers that match
	claims               []string // of the token, as path=value
}

// explainCommand returns the command caddy realtime explain.
func explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain --room <room> [--user <id> | --guest | --backend <name>] [--verb <verb>] [--matching <@name>] [--claim <path=value>] [--hub <name>] [--running] [--address <admin address>] [--config <path>] [--adapter <name>]",
		Short: "Says who may do what in a room, and which allow decides",
		Long: `
Says what a client may do in a room, and which allow of a configuration decides
about each verb. Without --user the client is anonymous; with --guest it is a
guest, and with --backend the backend of that name.
--matching names a matcher that matches the client's request, like @staff, and
--claim a claim of its token, like role=admin; both may be repeated. What tokens
and links grant beside the configuration is not known here.

It reads the configuration like caddy run does; with --running it asks the Caddy
that runs for its own, by the admin API.`,
		Example: `  caddy realtime explain --room staff/plan --user ben
  caddy realtime explain --room office/plan --matching @office --verb publish`,
		Args: cobra.NoArgs,
	}
	var e explanation
	flags := cmd.Flags()
	flags.StringVar(&e.room, "room", "", "The room's name")
	flags.StringVar(&e.user, "user", "", "The user's id; empty for an anonymous client")
	flags.BoolVar(&e.guest, "guest", false, "The client is a guest")
	flags.StringVar(&e.backend, "backend", "", "The name of a backend, which the client is")
	flags.BoolVar(&e.running, "running", false, "Take the configuration of the running Caddy")
	flags.StringVar(&e.address, "address", "", "The address of its admin API, if it is not the default")
	flags.StringArrayVar(&e.claims, "claim", nil, "A claim of the client's token, as path=value")
	flags.StringVar(&e.verb, "verb", "", "One verb instead of all")
	flags.StringSliceVar(&e.matching, "matching", nil, "A named matcher that matches")
	flags.StringVar(&e.hub, "hub", "", "The hub's name")
	flags.StringVarP(&e.config, "config", "c", "", "Configuration file (default Caddyfile)")
	flags.StringVarP(&e.adapter, "adapter", "a", "", "Name of the config adapter to apply")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		config, err := e.load()
		if err != nil {
			return err
		}
		return e.print(cmd.OutOrStdout(), config)
	}
	return cmd
}

// load returns the configuration in JSON.
func (e *explanation) load() ([]byte, error) {
	if !e.running && e.address == "" {
		config, _, _, err := caddycmd.LoadConfig(e.config, e.adapter)
		return config, err
	}
	address, err := caddycmd.DetermineAdminAPIAddress(e.address, nil, e.config, e.adapter)
	if err != nil {
		return nil, err
	}
	resp, err := caddycmd.AdminAPIRequest(address, http.MethodGet, "/config/", nil, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the running Caddy at %s: %w", address, err)
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxConfig))
}

// maxConfig bounds the configuration of a running Caddy, in bytes.
const maxConfig = 64 << 20

// print writes the decisions for a configuration in JSON.
func (e *explanation) print(w io.Writer, config []byte) error {
	if err := names.CheckRoom(e.room); err != nil {
		return fmt.Errorf("invalid --room %q: %w", e.room, err)
	}
	verbs, _, err := access.ParseVerbs("", []string{"all", hub.VerbModerate.String(), hub.VerbCreate.String()})
	if e.verb != "" {
		var rest []string
		if verbs, rest, err = access.ParseVerbs("", []string{e.verb}); len(rest) > 0 {
			err = fmt.Errorf("invalid --verb %q: must be %s", e.verb, verbForms)
		}
	}
	if err != nil {
		return err
	}
	handlers, err := e.handlers(config)
	if err != nil {
		return err
	}
	rules, p, err := e.ask(handlers)
	if err != nil {
		return err
	}
	rows := []string{"VERB\tALLOWED\tBY\n"}
	for _, v := range verbs {
		d := rules.Explain(p, v, e.room)
		allowed := "no"
		if d.Allowed {
			allowed = "yes"
		}
		by := because(d)
		if e.backend != "" {
			by = "the allow of backend " + e.backend
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\n", v, allowed, by))
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(table, strings.Join(rows, "")); err != nil {
		return err
	}
	if err := table.Flush(); err != nil || exists(handlers, e.room) {
		return err
	}
	_, err = fmt.Fprintf(w, "but whoever may gets 404: rooms declared, and no room block matches %s\n", e.room)
	return err
}

// exists reports whether there may be a room of that name in the hub of the handlers.
func exists(handlers []*Handler, room string) bool {
	return !slices.ContainsFunc(handlers, func(h *Handler) bool {
		s, own, err := h.settings()
		return err == nil && own && !s.Exists(room)
	})
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

// handlers returns the handlers of the hub, of a configuration in JSON.
func (e *explanation) handlers(config []byte) (handlers []*Handler, err error) {
	if err := findHandlers(config, &handlers); err != nil {
		return nil, err
	}
	handlers = slices.DeleteFunc(handlers, func(h *Handler) bool { return h.Hub != e.hub })
	if len(handlers) == 0 {
		return nil, errors.New("the configuration has no realtime handler with this hub")
	}
	return handlers, nil
}

// ask returns the rules of the hub, and what they are to make of the client.
func (e *explanation) ask(handlers []*Handler) (rules *access.Rules, p access.Principal, err error) {
	if p, err = e.principal(handlers); err != nil {
		return nil, p, err
	}
	for _, h := range handlers {
		rules, _, err := h.rights()
		if err != nil {
			return nil, p, err
		}
		if rules != nil { // others of the same hub say the same, or nothing
			p.Facts = h.factsNamed(e.matching, e.claims)
			return rules, p, nil
		}
	}
	return new(access.Rules), p, nil
}

// principal returns who the client is.
func (e *explanation) principal(handlers []*Handler) (p access.Principal, err error) {
	given := 0
	for _, is := range []bool{e.user != "", e.guest, e.backend != ""} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return p, errors.New("--user, --guest and --backend exclude each other")
	case e.guest:
		p.User = message.GuestID("example")
	case e.backend == "":
		p.User = e.user
	default:
		p.User = message.BackendID(e.backend)
		for _, h := range handlers {
			for i := range h.Backends {
				if b := &h.Backends[i]; b.Name == e.backend {
					p.Grants, err = b.rights()
					return p, err
				}
			}
			if h.AsBackend == e.backend {
				p.Grants, err = new(Backend).rights()
				return p, err
			}
		}
		return p, fmt.Errorf("the hub has no backend %q", e.backend)
	}
	return p, nil
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
