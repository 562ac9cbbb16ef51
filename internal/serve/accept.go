package serve

import (
	"strconv"
	"strings"
)

// offer is a media type that is available, and the value that it stands for.
type offer struct{ media, value string }

// accept chooses among the offers by an Accept header (RFC 9110, section 12.5.1). The
// most specific range that matches an offer gives its quality. The best quality wins,
// then the more specific range, then the order of the header, then that of the
// offers. Without a header the first offer is chosen.
func accept(header []string, offers []offer) (value string, ok bool) {
	ranges := parseAccept(header)
	if len(ranges) == 0 {
		return offers[0].value, true
	}
	var best mediaRange
	for _, o := range offers {
		r, matches := mostSpecific(ranges, o.media)
		if !matches || r.quality == 0 {
			continue
		}
		if !ok || r.better(best) {
			best, value, ok = r, o.value, true
		}
	}
	return value, ok
}

// mediaRange is one element of an Accept header.
type mediaRange struct {
	kind, subtype string
	quality       float64
	place         int
}

func (r mediaRange) specificity() int {
	switch {
	case r.kind == "*":
		return 0
	case r.subtype == "*":
		return 1
	default:
		return 2
	}
}

func (r mediaRange) better(o mediaRange) bool {
	switch {
	case r.quality != o.quality:
		return r.quality > o.quality
	case r.specificity() != o.specificity():
		return r.specificity() > o.specificity()
	default:
		return r.place < o.place
	}
}

func mostSpecific(ranges []mediaRange, media string) (best mediaRange, ok bool) {
	kind, subtype, _ := strings.Cut(media, "/")
	for _, r := range ranges {
		if (r.kind == "*" || r.kind == kind) && (r.subtype == "*" || r.subtype == subtype) &&
			(!ok || r.specificity() > best.specificity()) {
			best, ok = r, true
		}
	}
	return best, ok
}

// parseAccept parses the ranges of an Accept header. It skips malformed ones, and
// ignores parameters other than q.
func parseAccept(header []string) []mediaRange {
	var ranges []mediaRange
	for _, v := range header {
		for part := range strings.SplitSeq(v, ",") {
			media, params, _ := strings.Cut(part, ";")
			kind, subtype, found := strings.Cut(strings.ToLower(strings.TrimSpace(media)), "/")
			if !found || kind == "" || subtype == "" {
				continue
			}
			ranges = append(ranges, mediaRange{kind, subtype, quality(params), len(ranges)})
		}
	}
	return ranges
}

func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(k, "q") {
			continue
		}
		q, err := strconv.ParseFloat(v, 64)
		if err != nil || q < 0 || q > 1 {
			return 0
		}
		return q
	}
	return 1
}
