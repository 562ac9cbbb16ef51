package realtime

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

const revokeHelp = `
Takes access back: ends the connections that were opened with a credential, and
refuses it from then on. It asks the running Caddy, through its admin API. Say
what is revoked with one of:

  --user    all that this user has. The id is the one that others see in "from";
            guests have ids that begin with ~g, and links with ~l
  --token   one token (JWT), by its jti
  --link    one signed link, by the id that caddy realtime sign prints
  --key     a backend's key, or all links signed with a key, by the key's id: in
            rtk_<id>_<secret> what is between the underscores; for links the id
            that caddy realtime sign prints
  --issuer  all tokens with this iss

A token that was issued later is not refused, so a user can sign in again, from the
next second on. --before moves that moment: a time like 2026-11-30T12:00:00Z, by
default now. Passwords, guests, links and keys do not say when they were issued: they
are refused as long as the revocation is kept.

--for is how long it is kept, like 90m, 24h or 30d; at most 366d. By default that
is as long as such a credential can be good: 366d for links, keys and guests, and
otherwise the longest max_lifetime of tokens, or 24h if that is longer. A
revocation cannot be undone. It is kept where the rooms are: without engine bolt it is
lost when Caddy restarts. To be safe, remove the key or the account before.
` + runningHelp

// revokeCommand returns the command caddy realtime revoke.
func revokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke --user <id>|--token <jti>|--link <id>|--key <id>|--issuer <iss> [--before <time>] [--for <duration>]" + runningUsage,
		Short: "Revokes tokens, links and keys, and disconnects who uses them",
		Long:  revokeHelp,
		Example: `  caddy realtime revoke --user ann
  caddy realtime revoke --link 3ofHcZbR9dQx1K2m --hub support
  caddy realtime revoke --issuer https://login.example.com --before 2026-11-30T12:00:00Z --for 30d`,
		Args: cobra.NoArgs,
	}
	var caddy running
	var asked revocationRequest
	var before string
	flags := cmd.Flags()
	flags.StringVar(&asked.User, "user", "", "The user's id")
	flags.StringVar(&asked.Token, "token", "", "The token's jti")
	flags.StringVar(&asked.Link, "link", "", "The link's id")
	flags.StringVar(&asked.Key, "key", "", "The key's id")
	flags.StringVar(&asked.Issuer, "issuer", "", "The tokens' iss")
	flags.StringVar(&before, "before", "", "What was issued later is not refused (default now)")
	flags.StringVar(&asked.For, "for", "", "How long the revocation is kept")
	caddy.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if before != "" {
			var err error
			if asked.Before, err = time.Parse(time.RFC3339, before); err != nil {
				return fmt.Errorf("invalid --before %q: must be a time like 2026-11-30T12:00:00Z", before)
			}
		}
		asked.Hub = caddy.hub
		return asked.send(cmd.OutOrStdout(), &caddy)
	}
	return cmd
}

// send revokes, and writes what holds then.
func (asked *revocationRequest) send(w io.Writer, c *running) error {
	if _, _, err := asked.only(); err != nil {
		return err // before a secret goes anywhere
	}
	var now revocationAnswer
	if err := c.ask("/realtime/revoke", asked, &now); err != nil {
		return err
	}
	kind, id, err := now.only()
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	_, err = fmt.Fprintf(w, "revoked  %s %s\nissued   until %s, or nobody knows when\nrefused  until %s\n",
		kind, id, now.Before.Format(time.RFC3339), now.Until.Format(time.RFC3339))
	return err
}

// revocationsCommand returns the command caddy realtime revocations.
func revocationsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revocations" + runningUsage,
		Short: "Lists what has been revoked",
		Long: `
Lists the revocations that the running Caddy keeps, one in each line: what is
revoked, until which time of issue, and until when. It asks through the admin API.
` + runningHelp,
		Example: `  caddy realtime revocations
  caddy realtime revocations --hub support --config /etc/caddy/Caddyfile`,
		Args: cobra.NoArgs,
	}
	var caddy running
	caddy.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return printRevocations(cmd.OutOrStdout(), &caddy) }
	return cmd
}

// printRevocations writes the table of a hub's revocations.
func printRevocations(w io.Writer, c *running) error {
	rows := []string{"REVOKED\tID\tISSUED UNTIL\tREFUSED UNTIL\n"}
	for after, more := "", true; more; more = after != "" {
		query := url.Values{"hub": {c.hub}, "after": {after}, "limit": {strconv.Itoa(maxRevocations)}}
		var page revocationsAnswer
		if err := c.ask("/realtime/revocations?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		for _, r := range page.Revocations {
			kind, id, err := r.only()
			if err != nil {
				return fmt.Errorf("reading the answer: %w", err)
			}
			rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\n", kind, id, r.Before.Format(time.RFC3339), r.Until.Format(time.RFC3339)))
		}
		after = page.Next
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(table, strings.Join(rows, "")); err != nil {
		return err
	}
	return table.Flush()
}
