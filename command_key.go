package realtime

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/caddy-realtime/realtime/access/backend"
)

// keyCommand returns the command caddy realtime key.
func keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key [--name <name>]",
		Short: "Makes a key for a server that uses the rooms",
		Long: `
Makes a new key for a backend: a server that publishes or reads with

  Authorization: Bearer <key>

and prints it, with the line for the Caddyfile. That line has only a hash of the
key, with which nobody can publish. The key itself is shown this once and kept
nowhere: store it where the server finds it.

To replace a key, put the new hash before the old one in the backend's line and
reload; give the server the new key; then remove the old hash and reload again.

--name is the backend's name: up to 64 letters, digits, -, _ and dots.`,
		Example: `  caddy realtime key --name shop`,
		Args:    cobra.NoArgs,
	}
	name := cmd.Flags().StringP("name", "n", "backend", "The backend's name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return printKey(cmd.OutOrStdout(), *name) }
	return cmd
}

// printKey writes a new key, and what to do with it.
func printKey(w io.Writer, name string) error {
	if err := checkBackendName(name); err != nil {
		return fmt.Errorf("invalid --name: %w", err)
	}
	key, hash := backend.Generate()
	_, err := fmt.Fprintf(w, "key        %s\nCaddyfile  backend %s %s\n", key, name, hash)
	return err
}
