package realtime

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/caddy-realtime/realtime/hub"
)

const importHelp = `
Reads what caddy realtime export has written, and stores it in a hub of the
running Caddy: from a file, or without one from standard input.

With engine bolt, messages keep their place and their time in rooms that have never
had another message. A hub that has never had a message in any room takes over
the ids, too, so that clients go on from their cursors. Import the same file again
after it was cut off, or for what has come since: what is there is not added twice.

Everything else, and all with engine memory, is published anew, with new ids and
times, to those who read the rooms, too. Again within 5 minutes, that adds nothing.

It stops at the first line that is wrong, and says which and what was done before.
It prints how many messages were
  kept     with their place and time
  anew     published anew
  known    there already
  expired  left out, since their TTL is over
` + runningHelp

// importCommand returns the command caddy realtime import.
func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import [<file>]" + runningUsage,
		Short: "Stores the messages of an export in a hub",
		Long:  importHelp,
		Example: `  caddy realtime import shop.ndjson --hub shop
  gunzip -c boards.ndjson.gz | caddy realtime import`,
		Args: cobra.MaximumNArgs(1),
	}
	var caddy running
	caddy.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in, size := cmd.InOrStdin(), int64(-1)
		if len(args) == 1 {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer file.Close() //nolint:errcheck // it is only read
			if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
				size = info.Size()
			}
			in = file
		}
		return importFrom(cmd, &caddy, in, size)
	}
	return cmd
}

// importFrom imports so many bytes, or -1 if nobody knows how many, and writes what was done.
func importFrom(cmd *cobra.Command, c *running, in io.Reader, size int64) error {
	shown := newProgress(cmd, "importing", size, inBytes...)
	defer shown.end()
	headers := http.Header{"Content-Type": {"application/x-ndjson"}}
	resp, err := c.send(http.MethodPost, "/realtime/import?"+url.Values{"hub": {c.hub}}.Encode(), headers, io.TeeReader(in, shown))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var done hub.Imported
	if err := json.NewDecoder(resp.Body).Decode(&done); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "kept     %d\nanew     %d\nknown    %d\nexpired  %d\n", done.Kept, done.Anew, done.Known, done.Expired)
	return err
}
