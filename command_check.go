package realtime

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-realtime/realtime/engine/bolt"
)

// checkCommand returns the command caddy realtime check.
func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check <file>",
		Short: "Reads a file of rooms, and says what is damaged in it",
		Long: `
Reads everything in a file in which a hub keeps its rooms (engine bolt), or in a
copy of one, and changes nothing. It prints how many rooms and messages the file has, whether
it was closed in order, and what is damaged; then it ends with the code 1.

No Caddy must have the file open: of a hub that runs, make a backup, and check that.
What is in the journals beside a file that was not closed in order is not looked at. The next
start brings it into the file.`,
		Example: `  caddy realtime backup /var/backups/shop.db --hub shop
  caddy realtime check /var/backups/shop.db`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		shown := newProgress(cmd, "reading", -1, counted...)
		report, err := bolt.Check(cmd.Context(), args[0], func(messages int) { shown.add(int64(messages) - shown.done) })
		shown.end()
		if errors.Is(err, bolt.ErrInUse) {
			return fmt.Errorf("checking %s: a Caddy has it open: make a copy with caddy realtime backup, and check that", args[0])
		}
		if err != nil {
			return fmt.Errorf("checking %s: %w", args[0], err)
		}
		if err := printReport(cmd.OutOrStdout(), &report); err != nil {
			return err
		}
		if n := len(report.Damage) + report.More; n > 0 {
			cmd.SilenceUsage = true
			return fmt.Errorf("%s is damaged in %d places: restore it from a backup", args[0], n)
		}
		return nil
	}
	return cmd
}

// printReport writes what a file has.
func printReport(w io.Writer, r *bolt.Report) error {
	state := "closed in order"
	if !r.Clean {
		state = "not closed in order: its journals belong to it, or it is a backup"
	}
	if _, err := fmt.Fprintf(w, "rooms     %d\nmessages  %d\nbytes     %d\ncreated   %s\nepoch     %s\nstate     %s\n",
		r.Rooms, r.Messages, r.Bytes, r.Created.Format(time.RFC3339), r.Epoch, state); err != nil {
		return err
	}
	for _, d := range r.Damage {
		if _, err := fmt.Fprintf(w, "damage    %s\n", d); err != nil {
			return err
		}
	}
	if r.More > 0 {
		_, err := fmt.Fprintf(w, "damage    and %d more\n", r.More)
		return err
	}
	return nil
}
