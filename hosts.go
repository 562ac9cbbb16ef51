package realtime

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// logShared logs which hosts share the rooms, unless people see them as one site, like
// example.com and www.example.com, or the hub has a name. (The header Host
// cannot name the hub: strangers choose it.)
func (h *Handler) logShared(s *surroundings) {
	const remedy = "to separate the rooms, give each host a site of its own with a hub of its own; to share them, name the hub"
	if h.Hub != "" {
		return
	}
	hosts := s.hosts()
	switch {
	case slices.ContainsFunc(hosts, func(host string) bool { return strings.Contains(host, "*") }):
		h.log.Warn("all hosts that match a wildcard share these rooms", "hosts", hosts, "remedy", remedy)
	case len(hosts) == 0 && s.othersHaveHosts():
		h.log.Info("all hosts without a site of their own share these rooms", "remedy", remedy)
	case severalSites(hosts):
		h.log.Info("several hosts share these rooms", "hosts", hosts, "remedy", remedy)
	}
}

// severalSites reports whether hosts seem to belong to more than one site.
func severalSites(hosts []string) bool {
	var first string
	for i, host := range hosts {
		host = strings.TrimPrefix(strings.ToLower(host), "www.")
		switch host {
		case "127.0.0.1", "::1", "[::1]":
			host = "localhost"
		}
		if i > 0 && host != first {
			return true
		}
		first = host
	}
	return false
}

// hosts returns the hosts whose requests reach the handler; none means all. The
// innermost route with a host matcher decides, since it is the narrowest.
func (s *surroundings) hosts() (hosts []string) {
	for _, step := range s.steps {
		if step.rewrite != nil {
			continue
		}
		for _, sets := range step.sets {
			if of, some := hostsOf(sets); some {
				hosts = of
			}
		}
	}
	return hosts
}

// hostsOf returns the hosts of host matchers, if each set has one.
func hostsOf(sets caddyhttp.MatcherSets) (hosts []string, some bool) {
	for _, set := range sets {
		i := slices.IndexFunc(set, func(m any) bool { _, ok := m.(*caddyhttp.MatchHost); return ok })
		if i < 0 {
			return nil, false
		}
		hosts = append(hosts, *set[i].(*caddyhttp.MatchHost)...)
	}
	return hosts, len(sets) > 0
}

// othersHaveHosts reports whether the server has routes with host matchers.
func (s *surroundings) othersHaveHosts() bool {
	return s.server != nil && slices.ContainsFunc(s.server.Routes, func(r caddyhttp.Route) bool {
		_, some := hostsOf(r.MatcherSets)
		return some
	})
}
