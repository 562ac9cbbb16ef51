package access

import (
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-realtime/realtime/hub"
)

// ParseVerbs parses the verbs that the words begin with, for a rule with the pattern. It also
// returns the words from the first that is not a verb. The word presence means members and
// show, and all means every verb but moderate and create. A verb that comes twice is an error, and so is all for a pattern
// that begins with "-/", where each verb must be named.
func ParseVerbs(pattern string, words []string) (verbs []hub.Verb, rest []string, err error) {
	for i, word := range words {
		meant := parseVerb(word)
		if meant == nil {
			rest = words[i:]
			break
		}
		if word == "all" && isReserved(pattern) {
			return nil, nil, errors.New("all does not include rooms that begin with -/: name each verb")
		}
		for _, v := range meant {
			if slices.Contains(verbs, v) {
				return nil, nil, fmt.Errorf("%s already specified", v)
			}
		}
		verbs = append(verbs, meant...)
	}
	return verbs, rest, nil
}

// parseVerb returns what a word means; nil if it is not a verb.
func parseVerb(word string) []hub.Verb {
	switch word {
	case "presence":
		return []hub.Verb{hub.VerbMembers, hub.VerbShow}
	case "all":
		return allVerbs()
	}
	for _, v := range everyVerb() {
		if v.String() == word {
			return []hub.Verb{v}
		}
	}
	return nil
}

// everyVerb returns all verbs, and allVerbs those that the word all means.
func everyVerb() []hub.Verb {
	all := make([]hub.Verb, numVerbs)
	for i := range all {
		all[i] = hub.Verb(i)
	}
	return all
}

func allVerbs() []hub.Verb { return everyVerb()[:hub.VerbShow+1] }
