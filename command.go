package realtime

import (
	"fmt"
	"html"
	"io"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-realtime/realtime/scripts"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "realtime",
		Usage: "assets|backup|check|compact|erase|explain|export|import|key|revocations|revoke|sign",
		Short: "Commands of the realtime module",
		Long: `
Commands of the realtime module. Of these, backup, compact, erase, export, import,
revocations and revoke need a running Caddy.

  assets       lists the scripts that pages load
  backup       copies the file of a hub
  check        says what is damaged in such a file
  compact      makes the file of a hub as small as it can be
  erase        erases everything that a user has published
  explain      says who may do what in a room
  export       writes the messages that a hub keeps
  import       stores the messages of an export in a hub
  key          makes a key for a server that uses the rooms
  revocations  lists what has been revoked
  revoke       takes tokens, links and keys back, and disconnects who uses them
  sign         signs a link, good for a room and a time`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(assetsCommand(), backupCommand(), checkCommand(), compactCommand(), eraseCommand(), explainCommand(), exportCommand(),
				importCommand(), keyCommand(), revocationsCommand(), revokeCommand(), signCommand())
		},
	})
}

// assetsCommand returns the command caddy realtime assets.
func assetsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "assets [--prefix <path>]",
		Short: "Lists the scripts that this version serves to pages",
		Long: `
Lists the scripts that the realtime handler of this Caddy serves below its
prefix: the URL of each with its hash, its size in bytes, plain and compressed,
and a script element to copy into a page.

The bytes behind a URL with a hash never change, so browsers cache it for good;
with the integrity attribute a browser rejects any other bytes. Copy the element
again after an upgrade of the module. The same name without the hash, like
/rt/-/realtime-chat.js, works in every version.

--prefix is the prefix of the handler. For pages of another site, give the whole
URL of the prefix; that site must be listed in the handler's origins.`,
		Example: `  caddy realtime assets
  caddy realtime assets --prefix https://chat.example.com/rt/`,
		Args: cobra.NoArgs,
	}
	prefix := cmd.Flags().StringP("prefix", "p", defaultPrefix, "The prefix of the handler, ending with a slash")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return printAssets(cmd.OutOrStdout(), *prefix) }
	return cmd
}

// printAssets writes one paragraph for each asset.
func printAssets(w io.Writer, prefix string) error {
	if prefix == "" || prefix[len(prefix)-1] != '/' {
		return fmt.Errorf("invalid --prefix %q: must end with a slash, like %s", prefix, defaultPrefix)
	}
	between := ""
	for _, a := range scripts.Assets() {
		url := prefix + "-/" + a.Hashed
		element := fmt.Sprintf(`<script type="module" src="%s" integrity="%s" crossorigin></script>`, html.EscapeString(url), a.Integrity)
		if a.Late {
			element = "loaded by realtime.js where WebSockets are blocked"
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
