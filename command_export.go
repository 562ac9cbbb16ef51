package realtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"
)

// exporting is what the command caddy realtime export is asked.
type exporting struct {
	running

	room, output string
	resume       bool
}

const exportHelp = `
Writes the messages that a hub of the running Caddy keeps, one in each line, as
JSON: the room, the id, the data, who published it and when, as clients get them.
Rooms come in the order of their names, the messages of each from the oldest to
the newest. caddy realtime import reads that again, also into another Caddy. It
works with every engine.

--room is a room, or the beginning of rooms' names and a star, like 'board/*'.
Without it, all rooms of the hub are written.

--output is a file, which must not exist. Without it, the lines go to standard output.

--resume goes on behind the last whole line of the file, after an export that
was cut off; with the same --hub and --room. What has come to the rooms before that
line meanwhile is not in the file.
` + runningHelp

// exportCommand returns the command caddy realtime export.
func exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export [--room <pattern>] [--output <file>] [--resume]" + runningUsage,
		Short: "Writes the messages that a hub keeps",
		Long:  exportHelp,
		Example: `  caddy realtime export --hub shop --output shop.ndjson
  caddy realtime export --room 'board/*' | gzip > boards.ndjson.gz`,
		Args: cobra.NoArgs,
	}
	var e exporting
	flags := cmd.Flags()
	flags.StringVar(&e.room, "room", "", "A room, or the beginning of rooms' names and a star")
	flags.StringVarP(&e.output, "output", "o", "", "The file to write")
	flags.BoolVar(&e.resume, "resume", false, "Go on behind the last line of the file")
	e.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return e.run(cmd) }
	return cmd
}

// run exports.
func (e *exporting) run(cmd *cobra.Command) error {
	query := url.Values{"hub": {e.hub}, "room": {e.room}}
	if e.output == "" {
		if e.resume {
			return errors.New("specify --output with --resume: what goes to standard output cannot be read again")
		}
		_, err := e.copy(cmd, query, cmd.OutOrStdout())
		return err
	}
	file, err := e.open(query)
	if err != nil {
		return err
	}
	lines, err := e.copy(cmd, query, file)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		if lines == 0 {
			if !e.resume {
				_ = os.Remove(e.output) // it was made here, and has nothing
			}
			return err
		}
		return fmt.Errorf("%w; after %d messages, which the file has: --resume goes on behind them", err, lines)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "exported  %d messages\n", lines)
	return err
}

// open opens the file to write to. If that has lines already, the query begins behind them.
func (e *exporting) open(query url.Values) (*os.File, error) {
	if !e.resume {
		file, err := os.OpenFile(e.output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("%s exists: name another file, or add --resume to go on behind its last line", e.output)
		}
		return file, err
	}
	file, err := os.OpenFile(e.output, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := goOn(file, query); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the last line of %s: %w", e.output, err), file.Close())
	}
	return file, nil
}

// goOn has the query begin behind the last whole line of a file, and the file written from there.
func goOn(file *os.File, query url.Values) error {
	line, end, err := lastLine(file)
	if err != nil {
		return err
	}
	if end > 0 {
		var last struct{ ID, Room string }
		if err := json.Unmarshal(line, &last); err != nil || last.ID == "" || last.Room == "" {
			return errors.New("it is not from an export")
		}
		query.Set("after_room", last.Room)
		query.Set("after", last.ID)
	}
	if err := file.Truncate(end); err != nil {
		return err
	}
	_, err = file.Seek(end, io.SeekStart)
	return err
}

// lastLine returns the last whole line of a file and where it ends, 0 if there is none.
func lastLine(file *os.File) (line []byte, end int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	const step = 64 << 10
	var tail []byte // from an offset on, at which it begins
	for from := info.Size(); ; {
		if i := bytes.LastIndexByte(tail, '\n'); i >= 0 {
			if begin := bytes.LastIndexByte(tail[:i], '\n'); begin >= 0 || from == 0 {
				return tail[begin+1 : i], from + int64(i) + 1, nil
			}
		}
		if from == 0 {
			return nil, 0, nil
		}
		n := min(from, step)
		more := make([]byte, n, n+int64(len(tail)))
		if _, err := file.ReadAt(more, from-n); err != nil {
			return nil, 0, err
		}
		from, tail = from-n, append(more, tail...)
	}
}

// copy writes an export, and returns how many whole lines it has.
func (e *exporting) copy(cmd *cobra.Command, query url.Values, w io.Writer) (lines int, err error) {
	resp, err := e.send(http.MethodGet, "/realtime/export?"+query.Encode(), nil, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	shown := newProgress(cmd, "exporting", -1, inBytes...)
	defer shown.end()
	if isTerminal(w) { // between the lines it would only disturb
		shown.bar = nil
	}
	count := new(lineCounter)
	if _, err = io.Copy(io.MultiWriter(w, count, shown), resp.Body); err != nil {
		err = fmt.Errorf("the export is cut off: %w", err)
	}
	return count.lines, err
}

// lineCounter counts the lines that are written to it.
type lineCounter struct{ lines int }

// Write implements io.Writer.
func (c *lineCounter) Write(b []byte) (int, error) {
	c.lines += bytes.Count(b, []byte{'\n'})
	return len(b), nil
}
