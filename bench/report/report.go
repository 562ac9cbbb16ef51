// Package report writes what was measured: tables in Markdown, and pictures as
// SVG.
package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Report is what a run of all came to.
type Report struct {
	Facts    [][2]string // name and value, of the machine and of the servers
	Sections []*Section
}

// Section is one table with its pictures.
type Section struct {
	Title  string
	Text   string // what was measured, and how
	Head   []string
	Rows   [][]string
	Notes  []string // what went wrong, or is missing
	Charts []Chart
}

// Row adds a row.
func (s *Section) Row(cells ...string) { s.Rows = append(s.Rows, cells) }

// Note adds a note.
func (s *Section) Note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// Terminal returns the table for a terminal.
func (s *Section) Terminal() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n", s.Title)
	rows := append([][]string{s.Head}, s.Rows...)
	widths := make([]int, len(s.Head))
	for _, r := range rows {
		for i, c := range r {
			widths[i] = max(widths[i], len([]rune(c)))
		}
	}
	for _, r := range rows {
		for i, c := range r {
			pad := strings.Repeat(" ", widths[i]-len([]rune(c)))
			if i == 0 {
				b.WriteString("  " + c + pad)
			} else {
				b.WriteString("  " + pad + c)
			}
		}
		b.WriteByte('\n')
	}
	for _, n := range s.Notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	return b.String()
}

const intro = `# Measured

Written by ` + "`go run ./bench`" + `; run it again rather than edit this. All servers run on
one machine and in turn, slot by slot, so that what the machine does meanwhile meets all
alike. Still only figures of one table compare. Client and server share the machine, and
loopback is not a network.

- **CPU** is user and system time of the server's processes, by the kernel's clock of
  them, for one delivery: one message to one subscriber. The clients' is not in it.
- Every client checks every message: whole, once and in order. A run in which one was
  lost, repeated or torn has failed, and says so.
- **C loop** and **Go loop** are the floor: one thread, one epoll and one write for each
  delivery, without history or limits. **goroutines** is the usual hub, a goroutine and a
  channel for each connection, on github.com/coder/websocket.
- **realtime** has its history on and its defaults, except for limits that a load from one
  address would reach. Nchan keeps 100 messages, too; Socket.IO and the loops keep none.

`

// Write writes the report to file, and its pictures to the folder images
// beside it.
func (r *Report) Write(file string) error {
	var b strings.Builder
	b.WriteString(intro)
	b.WriteString("| | |\n|---|---|\n")
	for _, f := range r.Facts {
		fmt.Fprintf(&b, "| %s | %s |\n", f[0], cell(f[1]))
	}
	images := filepath.Join(filepath.Dir(file), "images")
	if err := os.MkdirAll(images, 0o755); err != nil {
		return err
	}
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		if s.Text != "" {
			b.WriteString(s.Text + "\n\n")
		}
		for _, c := range s.Charts {
			if err := os.WriteFile(filepath.Join(images, c.File), []byte(c.SVG()), 0o644); err != nil {
				return err
			}
			fmt.Fprintf(&b, "![%s](images/%s)\n\n", c.Title, c.File)
		}
		if len(s.Rows) > 0 {
			line(&b, s.Head)
			b.WriteString("|---|" + strings.Repeat("---:|", len(s.Head)-1) + "\n")
			for _, row := range s.Rows {
				line(&b, row)
			}
		}
		for _, n := range s.Notes {
			fmt.Fprintf(&b, "\n*%s*\n", n)
		}
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

func line(b *strings.Builder, cells []string) {
	b.WriteByte('|')
	for _, c := range cells {
		b.WriteString(" " + cell(c) + " |")
	}
	b.WriteByte('\n')
}

func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\n", " "), "|", `\|`)
}
