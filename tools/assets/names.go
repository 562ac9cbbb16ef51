package main

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// namesFile holds what private names become. It is stored, so that a build needs no
// search and gives the same bytes everywhere.
const namesFile = "assets/names.json"

// names is what the private names of the sources, those that end in an
// underscore, become. It is the same for all scripts, since a page's scripts
// hand objects to each other.
//
// Two names may become the same if no file declares both: each file has one
// class, or makes one kind of object, and declares all private names that its
// objects have.
//
// It is also what the local names of each script become: the same one wherever a
// script has that name, so that what repeats is spelt alike, and compresses well. Two
// of them may become the same if no scope declares one and has use for the other.
type names struct {
	short  map[string]string          // what they have become
	apart  map[string]map[string]bool // which others a name must differ from
	chosen map[string]bool            // those that need no better one any more
}

var (
	// shortened matches private names, and local ones that build/locals.js has marked.
	shortened = regexp.MustCompile(`\b(?:\w+_0|[A-Za-z]\w*_)\b`)
	declares  = regexp.MustCompile(`(?m)this\.(\w+_)\b|^  (?:async )?(\w+_)\b|\b(\w+_)\??:|@property \{.*?\} \[?(\w+_)\b`)
)

// tries is how many choices of names are tried for a script.
const tries = 300_000

// letters are what names become.
const letters = "tsiehronalcufdmpgbwyvkTSEOjMNRAxIUKHWPJLDVXQFqGBCzYZ"

// newNames reads the sources, and unless they are to be chosen anew what the
// file says.
func newNames(dir string, anew bool) (*names, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.js"))
	if err != nil {
		return nil, err
	}
	n := &names{short: map[string]string{}, apart: map[string]map[string]bool{}, chosen: map[string]bool{}}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		n.read(string(source))
	}
	if anew {
		return n, nil
	}
	kept, err := os.ReadFile(namesFile)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	} else if err != nil {
		return nil, err
	}
	before := map[string]string{}
	if err := json.Unmarshal(kept, &before); err != nil {
		return nil, fmt.Errorf("%s: %w", namesFile, err)
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		n.short[name] = before[name]
		n.check(name)
	}
	return n, nil
}

// read takes note of the names that one source declares.
func (n *names) read(source string) {
	declared := map[string]bool{}
	for _, m := range declares.FindAllStringSubmatch(source, -1) {
		declared[m[1]+m[2]+m[3]+m[4]] = true
	}
	names := slices.Collect(maps.Keys(declared))
	n.keepApart(names, names)
}

// check takes a name's short form away if a name that must differ has the same one.
func (n *names) check(name string) {
	for other := range n.apart[name] {
		if n.short[other] == n.short[name] {
			delete(n.short, name)
			return
		}
	}
}

// keepApart notes that each of some names must differ from each of others.
func (n *names) keepApart(some, others []string) {
	for _, name := range slices.Concat(some, others) {
		if n.apart[name] == nil {
			n.apart[name] = map[string]bool{}
		}
	}
	for _, name := range some {
		for _, other := range others {
			if name != other {
				n.apart[name][other], n.apart[other][name] = true, true
			}
		}
	}
}

// mark marks the local names of a script, room becomes room_0, takes note of them, and
// cuts the script.
func (n *names) mark(file string, script []byte) (text, error) {
	locals := exec.Command("node", filepath.Join(filepath.Dir(file), "build/locals.js"), filepath.Base(file))
	var faults bytes.Buffer
	locals.Stdin, locals.Stderr = bytes.NewReader(script), &faults
	out, err := locals.Output()
	if err != nil {
		return text{}, fmt.Errorf("marking local names: %w %s", err, faults.Bytes())
	}
	var marked struct {
		Script string
		Scopes []struct{ Declared, Outer []string }
	}
	if err := json.Unmarshal(out, &marked); err != nil {
		return text{}, err
	}
	for _, scope := range marked.Scopes {
		n.keepApart(scope.Declared, slices.Concat(scope.Declared, scope.Outer))
	}
	t := cut([]byte(marked.Script))
	for i, name := range t.names {
		if strings.HasSuffix(name, "_0") {
			t.names[i] = filepath.Base(file) + ": " + name
		}
		n.check(t.names[i])
	}
	return t, nil
}

// complete gives the names in a script that have no short one the first that is
// free, and refuses a name that no source declares.
func (n *names) complete(t text) error {
	count := map[string]int{}
	for _, name := range t.names {
		count[name]++
	}
	for _, name := range slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return strings.Compare(a, b)
	}) {
		switch {
		case n.apart[name] == nil:
			return fmt.Errorf("%s is declared nowhere: a private name is a field or a method of a class, or in a literal", name)
		case n.short[name] == "":
			n.short[name] = n.free(name)[0]
		}
	}
	return nil
}

// choose looks for short names with which a script is small when it is compressed. It
// tries letters for names, in exchange with the names that have them. It leaves alone
// the names of scripts for which it has done so before. At first it goes on from a choice
// that is worse by a byte or two, too, which leads to better ones.
func (n *names) choose(t text) {
	all := slices.Compact(slices.Sorted(slices.Values(t.names)))
	all = slices.DeleteFunc(all, func(name string) bool { return n.chosen[name] })
	size := compressed(n.apply(t))
	best, smallest := maps.Clone(n.short), size
	random := rand.New(rand.NewPCG(2, 1)) // always the same
	for tried := range tries {
		// Letters that are frequent are better ones.
		name, letter := all[random.IntN(len(all))], n.short[t.names[random.IntN(len(t.names))]]
		if random.IntN(8) == 0 {
			letter = string(letters[random.IntN(len(letters))])
		}
		before := maps.Clone(n.short)
		if n.exchange(name, letter) {
			worse := random.ExpFloat64() * float64(tries-tried) / tries
			if now := compressed(n.apply(t)); now <= size+int(worse) {
				if size = now; size < smallest {
					best, smallest = maps.Clone(n.short), size
				}
				continue
			}
		}
		n.short = before
	}
	n.short = best
	for _, name := range all {
		n.chosen[name] = true
	}
}

// exchange gives a name a letter. Names that have this letter and must differ from the
// name get its old letter. It reports whether that is allowed.
func (n *names) exchange(name, letter string) bool {
	before := n.short[name]
	if letter == before {
		return false
	}
	n.short[name] = letter
	for other := range n.apart[name] {
		if n.short[other] != letter {
			continue
		}
		if n.chosen[other] {
			return false
		}
		n.short[other] = ""
		if !slices.Contains(n.free(other), before) {
			return false
		}
		n.short[other] = before
	}
	return true
}

// free returns what a name may become: letters, or more than one if there is none.
func (n *names) free(name string) []string {
	taken := map[string]bool{}
	for other := range n.apart[name] {
		taken[n.short[other]] = true
	}
	all := strings.Split(letters, "")
	all = slices.DeleteFunc(all, func(letter string) bool { return taken[letter] })
	for i := 0; len(all) == 0; i++ {
		if two := letters[i:i+1] + "_"; !taken[two] {
			all = append(all, two)
		}
	}
	return all
}

// text is a script, cut at its private and local names: the first part comes before the
// first name, and so on.
type text struct {
	parts [][]byte
	names []string
}

func cut(script []byte) text {
	var t text
	end := 0
	for _, m := range shortened.FindAllIndex(script, -1) {
		t.parts = append(t.parts, script[end:m[0]])
		t.names = append(t.names, string(script[m[0]:m[1]]))
		end = m[1]
	}
	t.parts = append(t.parts, script[end:])
	return t
}

// value reports whether a name is the value in {name: value}, and the name before it the key.
func (t text) value(i int) bool {
	if i == 0 || string(t.parts[i]) != ":" {
		return false
	}
	before, after := t.parts[i-1], t.parts[i+1]
	return len(before) > 0 && strings.ContainsRune("{,", rune(before[len(before)-1])) &&
		len(after) > 0 && strings.ContainsRune(",}", rune(after[0]))
}

// apply returns a script with the short names.
func (n *names) apply(t text) []byte {
	var script []byte
	for i, name := range t.names {
		script = append(script, t.parts[i]...)
		if t.value(i) && n.short[name] == n.short[t.names[i-1]] {
			script = script[:len(script)-1] // {t:t} is {t}
			continue
		}
		script = append(script, n.short[name]...)
	}
	return append(script, t.parts[len(t.names)]...)
}

// write keeps the names.
func (n *names) write() error {
	kept, err := json.MarshalIndent(n.short, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(namesFile, append(kept, '\n'), 0o644)
}

var deflater, _ = flate.NewWriter(nil, flate.BestCompression) // the level is good

func compressed(script []byte) int {
	var b bytes.Buffer
	deflater.Reset(&b)
	_, _ = deflater.Write(script)
	_ = deflater.Close()
	return b.Len()
}
