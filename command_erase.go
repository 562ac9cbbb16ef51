package realtime

import (
	"fmt"

	"github.com/spf13/cobra"
)

// eraseCommand returns the command caddy realtime erase.
func eraseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "erase --user <id>" + runningUsage,
		Short: "Erases everything that a user has published",
		Long: `
Takes every message that a user has published out of all rooms of a hub of the
running Caddy, for good, and prints how many there were. With engine bolt nothing of them
is left in the hub's file and its journals. Other messages stay as they are, and no
client gets a gap.

Revoke first what the user has, or close the account: who is connected goes on
publishing, and is a member of rooms, with a name and a state. Clients keep what they
have read. Backups and exports are yours to look after, and what messages
of others say.

--user is the id that others see in "from".
` + runningHelp,
		Example: `  caddy realtime revoke --user ann --hub shop
  caddy realtime erase --user ann --hub shop`,
		Args: cobra.NoArgs,
	}
	var caddy running
	var asked eraseRequest
	cmd.Flags().StringVar(&asked.User, "user", "", "The user's id")
	caddy.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asked.Hub = caddy.hub
		if err := asked.check(); err != nil {
			return fmt.Errorf("--user: %w", err)
		}
		var now eraseAnswer
		err := newProgress(cmd, "erasing", -1).while(func() error { return caddy.ask("/realtime/erase", asked, &now) })
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "erased  %d messages; backups, exports and what clients have read are not touched\n", now.Erased)
		return err
	}
	return cmd
}
