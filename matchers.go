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

// verdict is whether matchers match a request of which nothing is known except an
// example of its path. If several must match the least verdict counts, if one of
// several must match the greatest.
type verdict int

const (
	no verdict = iota
	maybe
	yes // yes - v is the opposite of v
)

// match returns the verdict of the matchers around a step.
func (s *step) match(r *http.Request) verdict {
	all := yes
	for _, sets := range s.sets {
		all = min(all, matchSets(sets, r, s.rewrite != nil))
	}
	return all
}

// matchSets returns the verdict of sets of matchers, one of which must match. The path
// is an example: if a matcher may decide otherwise for similar paths the verdict is
// maybe, unless exact is set.
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

// judge returns the verdict for a matcher's result, which counts only if it is known to
// hold for all similar paths.
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

// hasFallback reports whether a file matcher tries a file whose name does not depend on
// the path, like /index.html, or ends with a status, like =404. Without that it matches
// a room's path only if there is a file of the same name.
func hasFallback(m *fileserver.MatchFile) bool {
	return slices.ContainsFunc(m.TryFiles, func(file string) bool {
		return !strings.Contains(file, "{http.request.uri") && !strings.Contains(file, "{http.request.orig_uri")
	})
}

// rawMatchers decodes matchers that Caddy has not loaded yet, if all of them are path
// and file matchers.
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
				m := new(fileserver.MatchFile) // only TryFiles is used
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

// paths returns the patterns of the path matchers.
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
