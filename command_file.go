package realtime

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/caddy-realtime/realtime/internal/durable"
)

// backupCommand returns the command caddy realtime backup.
func backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup <file> [--force]" + runningUsage,
		Short: "Copies the file of a hub",
		Long: `
Writes a copy of the file in which a hub of the running Caddy keeps its rooms
(engine bolt), with everything that was published before. The hub goes on meanwhile. The copy
has its name only once it is complete, and on the disk.

To restore it, stop Caddy, put it in place of the hub's file without the journals beside that,
and start Caddy. Each room has one gap then, since what came after the copy is missing.
caddy realtime check reads a copy.

--force replaces a file that exists.
` + runningHelp,
		Example: `  caddy realtime backup /var/backups/shop.db --hub shop`,
		Args:    cobra.ExactArgs(1),
	}
	var caddy running
	force := cmd.Flags().Bool("force", false, "Replace a file that exists")
	caddy.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return backUp(cmd, &caddy, args[0], *force) }
	return cmd
}

// backUp writes a copy of a hub's file to a path.
func backUp(cmd *cobra.Command, c *running, path string, force bool) (err error) {
	taken := func() error {
		if _, err := os.Lstat(path); force || errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		return fmt.Errorf("%s exists: name another file, or add --force to replace it", path)
	}
	if err := taken(); err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*") // only its owner may read it
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = part.Close()
			_ = os.Remove(part.Name())
		}
	}()
	size, err := fetchBackup(cmd, c, part)
	if err != nil {
		return err
	}
	if err := errors.Join(part.Sync(), part.Close()); err != nil {
		return err
	}
	if err := taken(); err != nil {
		return err
	}
	if err := durable.Rename(part.Name(), path); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "copied  %d bytes\n", size)
	return err
}

// fetchBackup writes a copy of a hub's file to w, and returns how many bytes it has.
func fetchBackup(cmd *cobra.Command, c *running, w io.Writer) (int64, error) {
	resp, err := c.send(http.MethodGet, "/realtime/backup?"+url.Values{"hub": {c.hub}}.Encode(), nil, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	shown := newProgress(cmd, "copying", -1, inBytes...)
	defer shown.end()
	size, err := io.Copy(io.MultiWriter(w, shown), resp.Body)
	if err != nil {
		return 0, fmt.Errorf("the copy is cut off: %w", err)
	}
	return size, nil
}

// compactCommand returns the command caddy realtime compact.
func compactCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compact" + runningUsage,
		Short: "Makes the file of a hub as small as it can be",
		Long: `
Writes the file in which a hub of the running Caddy keeps its rooms (engine bolt)
anew, without what is free in it, and prints its size before and after. The hub goes on
meanwhile. It needs as much of the disk as the file has in use.

A file does not shrink by itself when messages expire: what is free is used again. A
large file of which half is free is compacted when Caddy starts.
` + runningHelp,
		Example: `  caddy realtime compact --hub shop`,
		Args:    cobra.NoArgs,
	}
	var caddy running
	caddy.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var sizes compactAnswer
		err := newProgress(cmd, "compacting", -1).while(func() error { return caddy.ask("/realtime/compact", compactRequest{Hub: caddy.hub}, &sizes) })
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "before  %d bytes\nafter   %d bytes\n", sizes.Before, sizes.After)
		return err
	}
	return cmd
}
