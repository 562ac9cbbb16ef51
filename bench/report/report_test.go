package report

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	s := &Section{Title: "Fan-out", Text: "text", Head: []string{"", "server"}}
	s.Row("a|b", "c")
	s.Note("%d lost", 3)
	s.Charts = []Chart{{
		File: "a.svg", Title: "A & B", X: "x", Y: "y",
		Lines: []Line{{"one", [][2]float64{{100, 3}, {10_000, 7.5}}}, {"<two>", [][2]float64{{100, 4}}}},
	}}
	file := filepath.Join(t.TempDir(), "R.md")
	r := &Report{Facts: [][2]string{{"CPU", "fast"}}, Sections: []*Section{s}}
	if err := r.Write(file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| CPU | fast |", "## Fan-out", "![A & B](images/a.svg)", `| a\|b | c |`, "*3 lost*"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("there is no %q in\n%s", want, b)
		}
	}
	if got := s.Terminal(); !strings.Contains(got, "a|b") || !strings.Contains(got, "3 lost") {
		t.Errorf("for a terminal: %s", got)
	}
	picture, err := os.Open(filepath.Join(filepath.Dir(file), "images/a.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer picture.Close()
	for d := xml.NewDecoder(picture); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 2.5: "2.5", 1000: "1,000", 16_384: "16,384"} {
		if got := number(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}
