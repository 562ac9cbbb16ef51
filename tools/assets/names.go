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
type names struct {
	short map[string]string          // what they have become
	apart map[string]map[string]bool // which others a name must differ from
}

var (
	private  = regexp.MustCompile(`\b[A-Za-z]\w*_\b`)
	declares = regexp.MustCompile(`(?m)this\.(\w+_)\b|^  (?:async )?(\w+_)\b|\b(\w+_)\??:|@property \{.*?\} \[?(\w+_)\b`)
)

// letters are what names become.
const letters = "tsiehronalcufdmpgbwyvkTSEOjMNRAxIUKHWPJLDVXQFqGBCzYZ"

// newNames reads the sources, and unless they are to be chosen anew what the
// file says.
func newNames(dir string, anew bool) (*names, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.js"))
	if err != nil {
		return nil, err
	}
	n := &names{short: map[string]string{}, apart: map[string]map[string]bool{}}
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
		// Names that must differ since then get different short forms again.
		if slices.Contains(n.free(name), before[name]) {
			n.short[name] = before[name]
		}
	}
	return n, nil
}

// read takes note of the names that one source declares.
func (n *names) read(source string) {
	declared := map[string]bool{}
	for _, m := range declares.FindAllStringSubmatch(source, -1) {
		declared[m[1]+m[2]+m[3]+m[4]] = true
	}
	for name := range declared {
		if n.apart[name] == nil {
			n.apart[name] = map[string]bool{}
		}
		maps.Copy(n.apart[name], declared)
		delete(n.apart[name], name)
	}
}

// complete gives the names in a script that have no short one the first that is
// free, and refuses a name that no source declares.
func (n *names) complete(script []byte) error {
	count := map[string]int{}
	for _, name := range private.FindAllString(string(script), -1) {
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
// tries letters for names, in exchange with the names that have them.
func (n *names) choose(script []byte) {
	all := slices.Compact(slices.Sorted(slices.Values(private.FindAllString(string(script), -1))))
	best := compressed(n.apply(script))
	random := rand.New(rand.NewPCG(2, 1)) // always the same
	for range 40_000 {
		name, letter := all[random.IntN(len(all))], letters[random.IntN(len(letters))]
		before := maps.Clone(n.short)
		if n.exchange(name, string(letter)) {
			if size := compressed(n.apply(script)); size <= best {
				best = size
				continue
			}
		}
		n.short = before
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

// apply returns a script with the short names.
func (n *names) apply(script []byte) []byte {
	return private.ReplaceAllFunc(script, func(name []byte) []byte { return []byte(n.short[string(name)]) })
}

// write keeps the names.
func (n *names) write() error {
	kept, err := json.MarshalIndent(n.short, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(namesFile, append(kept, '\n'), 0o644)
}

func compressed(script []byte) int {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err) // the level is good
	}
	_, _ = w.Write(script)
	_ = w.Close()
	return b.Len()
}
