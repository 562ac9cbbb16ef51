package realtime

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-realtime/realtime/access/link"
)

// signing is what the command caddy realtime sign is asked.
type signing struct {
	url, key, expires string
	verbs             []string
	link              link.Link // Hub, Room, Pattern, Name and Uses
}

const signHelp = `
Prints a URL that lets whoever has it use a room until it expires, without an
account: read along, write, or both. People can pass the URL on.

The Caddyfile must accept such links, with the same key:

  realtime {
    links {env.LINKS_KEY} {
      rooms board/*
      verbs subscribe history publish
    }
  }

A link gives nothing beyond these rooms and verbs, whatever it says. Any secret of
at least 32 bytes is a key; openssl rand -base64 32 makes one.

Beside the URL, on standard error, it prints the ids of the link and of its key,
with which caddy realtime revoke takes back this link, or all that are signed with
the key. Without its key in the Caddyfile no link is accepted either.

--url is the prefix of the rooms: the site's address, the handler's prefix and a
slash at the end. The link works on that host only.

--key says where the key stands: {env.NAME} for a variable of the environment, or
else the path of a file. Quote the braces for your shell. The key itself is not
taken, since it would stay in your shell's history.

--room is one room; --pattern is the beginning of rooms' names and a star, like
'board/*', and then the URL is that of the prefix.

--verbs are what the link allows, separated by commas: subscribe, publish, signal,
history, members and show; presence means members and show, all means all six.

--expires is for how long it is good, like 90m, 24h or 7d; at most 365d.

--name is what others see as the name of whoever uses the link.

--uses is how many streams, WebSockets and publications may be opened with it, in
all. Reading a page does not count, since mail scanners open links. By default
there is no limit.

--hub is the name of the hub, if the handler has one.`

// signCommand returns the command caddy realtime sign.
func signCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign --url <url> --key {env.<name>}|<file> --room <room>|--pattern <pattern> --verbs <verbs> [--expires <duration>] [--name <name>] [--uses <n>] [--hub <name>]",
		Short: "Signs a link to a room",
		Long:  signHelp,
		Example: `  caddy realtime sign --url https://example.com/rt/ --key '{env.LINKS_KEY}' \
      --room board/7 --verbs subscribe,history --expires 30d
  caddy realtime sign --url https://example.com/rt/ --key /etc/caddy/links.key \
      --room support/ann --verbs all --name 'Ann B.' --expires 2h --uses 20`,
		Args: cobra.NoArgs,
	}
	var s signing
	flags := cmd.Flags()
	flags.StringVar(&s.url, "url", "", "The prefix of the rooms, like https://example.com/rt/")
	flags.StringVar(&s.key, "key", "", "Where the key is: {env.NAME}, or a file")
	flags.StringVar(&s.link.Room, "room", "", "The room's name")
	flags.StringVar(&s.link.Pattern, "pattern", "", "The beginning of rooms' names, and a star")
	flags.StringSliceVar(&s.verbs, "verbs", nil, "What the link allows, separated by commas")
	flags.StringVar(&s.expires, "expires", "7d", "For how long the link is good")
	flags.StringVar(&s.link.Name, "name", "", "The name that others see")
	flags.IntVar(&s.link.Uses, "uses", 0, "How often the link may be used; 0 for no limit")
	flags.StringVar(&s.link.Hub, "hub", "", "The hub's name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return s.print(cmd.OutOrStdout(), cmd.ErrOrStderr(), time.Now())
	}
	return cmd
}

// print writes the URL, and to notes what the link is revoked by.
func (s *signing) print(w, notes io.Writer, now time.Time) error {
	prefix, err := url.Parse(s.url)
	if err != nil || (prefix.Scheme != "http" && prefix.Scheme != "https") || prefix.Host == "" || prefix.User != nil ||
		prefix.RawQuery != "" || prefix.Fragment != "" || !strings.HasSuffix(prefix.Path, "/") {
		return fmt.Errorf("invalid --url %q: must be the prefix of the rooms with a slash at the end, like https://example.com%s", s.url, defaultPrefix)
	}
	if s.link.Verbs, err = linkVerbs(s.verbs); err != nil {
		return fmt.Errorf("invalid --verbs: %w", err)
	}
	if s.link.Expires, err = linkExpiry(s.expires, now); err != nil {
		return fmt.Errorf("invalid --expires: %w", err)
	}
	key, err := readSigningKey(s.key)
	if err != nil {
		return fmt.Errorf("invalid --key: %w", err)
	}
	s.link.ID = link.NewID()
	text, err := signURL(key, prefix, s.link, now)
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintln(w, text); err != nil {
		return err
	}
	_, err = fmt.Fprintf(notes, "link %s for %s%s (%s), signed with key %s, expires %s\n", s.link.ID,
		s.link.Room, s.link.Pattern, strings.Join(s.link.Verbs, " "), key.ID(), s.link.Expires.UTC().Format(time.RFC3339))
	return err
}

// readSigningKey reads the key of a command line, which names where it is.
func readSigningKey(from string) (link.Key, error) {
	if from == "" {
		return link.Key{}, errors.New("it is required: {env.NAME}, or a file")
	}
	var text string
	if keyPlaceholder.MatchString(from) {
		var err error
		if text, _, err = readKey(from); err != nil {
			return link.Key{}, err
		}
	} else {
		b, err := os.ReadFile(from)
		if err != nil { // without the argument, which may be the key itself
			return link.Key{}, errors.New("it is neither {env.NAME} nor a file that can be read")
		}
		// As {file.*} does, so that the same file is the same key.
		text = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	}
	return link.NewKey(text)
}

// linkVerbs returns the names of the verbs that the words mean.
func linkVerbs(words []string) ([]string, error) {
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	verbs, err := onlyVerbs("", words)
	switch {
	case err != nil:
		return nil, err
	case len(verbs) == 0:
		return nil, fmt.Errorf("no verb specified: must be %s", verbForms)
	}
	var all []string
	for _, v := range verbs {
		all = append(all, v.String())
	}
	return all, nil
}

// linkExpiry returns when a link ends that is good for a duration like 7d.
func linkExpiry(duration string, now time.Time) (time.Time, error) {
	d, err := caddy.ParseDuration(duration)
	if err != nil || d < time.Second || d > link.MaxLife {
		return time.Time{}, fmt.Errorf("%q must be a duration like 90m, 24h or 7d, at most %dd", duration, link.MaxLife/(24*time.Hour))
	}
	return now.Add(d), nil
}

// signURL returns the URL of a signed link below the prefix. It takes the link's host from there.
func signURL(key link.Key, prefix *url.URL, l link.Link, now time.Time) (string, error) {
	if l.Host = link.Host(prefix.Host); l.Host == "" {
		return "", errors.New("the link needs a host name or an address")
	}
	text, err := key.Sign(l, now)
	if err != nil {
		return "", fmt.Errorf("signing the link: %w", err)
	}
	room := &url.URL{Scheme: prefix.Scheme, Host: prefix.Host, Path: prefix.Path + l.Room}
	// An & in a room's name would begin a character reference of HTML.
	return strings.ReplaceAll(room.String(), "&", "%26") + "?link=" + text, nil
}
