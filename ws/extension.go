package ws

import "strings"

// extensionHeader lists extensions: those that the client offers, and those that the
// server accepts.
const extensionHeader = "Sec-WebSocket-Extensions"

// deflateAnswer accepts an offer of permessage-deflate. Neither side keeps a context,
// so that one compressed form serves all connections.
const deflateAnswer = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"

// agreeOnDeflate returns the answer to the first offer of permessage-deflate
// that can be accepted, given all values of [extensionHeader], or "".
func agreeOnDeflate(values []string) string {
	for _, v := range values {
		l := extensionList{v}
		for l.rest != "" {
			if e, ok := l.next(); ok && e.name == "permessage-deflate" {
				if answer, ok := e.acceptDeflate(); ok {
					return answer
				}
			}
		}
	}
	return ""
}

// acceptDeflate returns the answer to an offer of permessage-deflate, unless it
// must be declined (RFC 7692, section 7).
func (e *extension) acceptDeflate() (answer string, ok bool) {
	answer = deflateAnswer
	seen := make(map[string]bool, len(e.params))
	for _, p := range e.params {
		switch p.name {
		case "server_no_context_takeover", "client_no_context_takeover":
			ok = !p.valued
		case "client_max_window_bits":
			// It needs no answer: then the client may use any window, and we inflate
			// any (section 7.1.2.2).
			ok = !p.valued || isWindowBits(p.value)
		case "server_max_window_bits":
			// The deflater's window is always 32 KiB. A client that asks for less has
			// to do without compression.
			if ok = p.value == "15"; ok {
				answer += "; server_max_window_bits=15" // the answer accepts it (section 7.1.2.1)
			}
		default:
			ok = false
		}
		if !ok || seen[p.name] {
			return "", false
		}
		seen[p.name] = true
	}
	return answer, true
}

// isWindowBits reports whether s is a number from 8 to 15 without leading zeros.
func isWindowBits(s string) bool {
	switch s {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		return true
	}
	return false
}

// extension is an element of [extensionHeader] (RFC 6455, section 9.1).
type extension struct {
	name   string
	params []extensionParam
}

// extensionParam is a parameter of an extension, with or without a value.
type extensionParam struct {
	name, value string
	valued      bool
}

// extensionList is the part of a list of extensions that is still to be read.
type extensionList struct{ rest string }

// next reads one extension and the comma after it. An extension that breaks the grammar
// is skipped, and ok is false: the connection is not refused for that, and another
// offer may be good.
func (l *extensionList) next() (e extension, ok bool) {
	e, ok = l.extension()
	if l.space(); ok && (l.rest == "" || l.skip(',')) {
		return e, true
	}
	// The next comma that is not within quotes begins another extension.
	for l.rest != "" && !l.skip(',') {
		if l.rest[0] != '"' {
			l.rest = l.rest[1:]
		} else if _, closed := l.quoted(); !closed {
			l.rest = ""
		}
	}
	return extension{}, false
}

func (l *extensionList) extension() (e extension, ok bool) {
	l.space()
	if e.name = l.token(); e.name == "" {
		return e, false
	}
	for l.space(); l.skip(';'); l.space() {
		var p extensionParam
		l.space()
		if p.name = l.token(); p.name == "" {
			return e, false
		}
		l.space()
		if p.valued = l.skip('='); p.valued {
			if p.value, ok = l.value(); !ok {
				return e, false
			}
		}
		e.params = append(e.params, p)
	}
	return e, true
}

// value reads a token, or a quoted string that contains one.
func (l *extensionList) value() (s string, ok bool) {
	l.space()
	if !strings.HasPrefix(l.rest, `"`) {
		s = l.token()
		return s, s != ""
	}
	if s, ok = l.quoted(); !ok || s == "" {
		return "", false
	}
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return "", false
		}
	}
	return s, true
}

// quoted reads a quoted string (RFC 9110, section 5.6.4), which begins here.
func (l *extensionList) quoted() (s string, closed bool) {
	var b strings.Builder
	for i := 1; i < len(l.rest); i++ {
		switch c := l.rest[i]; {
		case c == '"':
			l.rest = l.rest[i+1:]
			return b.String(), true
		case c == '\\' && i+1 < len(l.rest):
			i++
			b.WriteByte(l.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// token reads a token (RFC 9110, section 5.6.2); "" if there is none.
func (l *extensionList) token() string {
	n := 0
	for n < len(l.rest) && isTokenByte(l.rest[n]) {
		n++
	}
	token := l.rest[:n]
	l.rest = l.rest[n:]
	return token
}

func (l *extensionList) space() { l.rest = strings.TrimLeft(l.rest, " \t") }

// skip reads the byte if it is next.
func (l *extensionList) skip(c byte) bool {
	if l.rest == "" || l.rest[0] != c {
		return false
	}
	l.rest = l.rest[1:]
	return true
}

func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
