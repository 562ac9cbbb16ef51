package realtime

import (
	"fmt"
	"html"
	"io"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	scripts "github.com/caddy-realtime/realtime/client"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "realtime",
		Usage: "assets [--prefix <path>]",
		Short: "What goes with the realtime module",
		Long: `
Commands around the realtime module. None of them needs a running Caddy, or a
configuration.`,
		CobraFunc: func(cmd *cobra.Command) { cmd.AddCommand(assetsCommand()) },
	})
}

// assetsCommand is caddy realtime assets.
func assetsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "assets [--prefix <path>]",
		Short: "Lists the scripts that this version serves to pages",
		Long: `
Lists the scripts that the realtime handler of this very Caddy serves below its
prefix, for those who write pages: the URL of each with its hash, how many bytes
it has as it is and as it is sent, and a script element to copy.

A URL with a hash stands for the same bytes for ever, so browsers keep it and
need not ask; integrity has a browser refuse any other bytes. Such an element
is good until Caddy gets another version of the module: then copy it anew. The
same name without the hash, like /rt/-/realtime-chat.js, is good in every
version.

--prefix is the prefix of the handler, or a whole URL up to there for pages of
another site, which then needs to be among the handler's origins.`,
		Example: `  caddy realtime assets
  caddy realtime assets --prefix https://chat.example.com/rt/`,
		Args: cobra.NoArgs,
	}
	prefix := cmd.Flags().StringP("prefix", "p", defaultPrefix, "The prefix of the handler, with a slash at its end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return printAssets(cmd.OutOrStdout(), *prefix) }
	return cmd
}

// printAssets writes one paragraph for each asset.
func printAssets(w io.Writer, prefix string) error {
	if prefix == "" || prefix[len(prefix)-1] != '/' {
		return fmt.Errorf("--prefix %q: must end with a slash, like %s", prefix, defaultPrefix)
	}
	between := ""
	for _, a := range scripts.Assets() {
		url := prefix + "-/" + a.Hashed
		element := fmt.Sprintf(`<script type="module" src="%s" integrity="%s" crossorigin></script>`, html.EscapeString(url), a.Integrity)
		if a.Late {
			element = "loaded by realtime.js where no WebSocket gets through"
		}
		_, err := fmt.Fprintf(w, `%s%s
  bytes      %d, gzip %d, zstd %d
  integrity  %s
  %s
`, between, url, len(a.Bytes("")), len(a.Bytes("gzip")), len(a.Bytes("zstd")), a.Integrity, element)
		if err != nil {
			return err
		}
		between = "\n"
	}
	return nil
}
