package realtime

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
)

// verdict is what matchers say of a request of which only an example of its path is
// known. Of several that must all match the least counts, of several of which one
// must the greatest.
type verdict int

const (
	no verdict = iota
	maybe
	yes // less a verdict: its opposite
)

// match returns what the matchers around a step say of a request.
func (s *step) match(r *http.Request) verdict {
	all := yes
	for _, sets := range s.sets {
		all = min(all, matchSets(sets, r, s.rewrite != nil))
	}
	return all
}

// matchSets returns what sets of matchers say, of which one must match. The path is
// an example: what is true of it alone, and not of every path like it, is only said
// where exact asks for that.
func matchSets(sets caddyhttp.MatcherSets, r *http.Request, exact bool) verdict {
	if len(sets) == 0 {
		return yes
	}
	one := no
	for _, set := range sets {
		all := yes
		for _, m := range set {
			all = min(all, matchOne(m, r, exact))
		}
		one = max(one, all)
	}
	return one
}

func matchOne(m any, r *http.Request, exact bool) verdict {
	switch m := m.(type) {
	case *caddyhttp.MatchPath:
		placeholder := slices.ContainsFunc(*m, func(p string) bool { return strings.Contains(p, "{") })
		ok, err := m.MatchWithError(r)
		return judge(ok, err == nil && (exact || !placeholder))
	case *caddyhttp.MatchPathRE:
		ok, err := m.MatchWithError(r)
		return judge(ok, err == nil && exact)
	case *caddyhttp.MatchNot:
		if len(m.MatcherSets) == 0 {
			return yes
		}
		return yes - matchSets(m.MatcherSets, r, exact)
	case *fileserver.MatchFile:
		return judge(hasFallback(m), exact)
	}
	return maybe
}

// judge makes a verdict of what a matcher has said, if that is known to be true of
// all such paths.
func judge(ok, known bool) verdict {
	switch {
	case !known:
		return maybe
	case ok:
		return yes
	default:
		return no
	}
}

// hasFallback reports whether a matcher of files tries any whose name does not come
// from the path, like /index.html, or refuses with a status, like =404. The others
// are no rooms: a room is found there only if there is a file of its name.
func hasFallback(m *fileserver.MatchFile) bool {
	return slices.ContainsFunc(m.TryFiles, func(file string) bool {
		return !strings.Contains(file, "{http.request.uri") && !strings.Contains(file, "{http.request.orig_uri")
	})
}

// rawMatchers returns matchers that are not loaded yet, if they are of paths and
// files alone.
func rawMatchers(raw caddyhttp.RawMatcherSets) (sets caddyhttp.MatcherSets, ok bool) {
	for _, modules := range raw {
		var set caddyhttp.MatcherSet
		for name, raw := range modules {
			switch name {
			case "path":
				m := new(caddyhttp.MatchPath)
				if json.Unmarshal(raw, m) != nil || m.Provision(caddy.Context{}) != nil {
					return nil, false
				}
				set = append(set, m)
			case "file":
				m := new(fileserver.MatchFile) // only what it tries is looked at
				if json.Unmarshal(raw, m) != nil {
					return nil, false
				}
				set = append(set, m)
			default:
				return nil, false
			}
		}
		sets = append(sets, set)
	}
	return sets, true
}

// paths returns the patterns of paths in matchers.
func paths(around []caddyhttp.MatcherSets) (all []string) {
	for _, sets := range around {
		for _, set := range sets {
			for _, m := range set {
				if p, ok := m.(*caddyhttp.MatchPath); ok {
					all = append(all, *p...)
				}
			}
		}
	}
	return all
}
