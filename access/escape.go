package access

const hex = "0123456789ABCDEF"

// EscapeID returns the segment of rooms' names that belongs to a user: the id, with every
// byte other than A-Z a-z 0-9 _ and - as %XX. So an id cannot leave its segment, and no two ids
// have the same one.
func EscapeID(id string) string {
	segment := make([]byte, 0, len(id))
	for _, c := range []byte(id) {
		if isPlain(c) {
			segment = append(segment, c)
		} else {
			segment = append(segment, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(segment)
}

// isEscaped reports whether the segment is EscapeID(id), without making that.
func isEscaped(segment, id string) bool {
	for _, c := range []byte(id) {
		switch {
		case isPlain(c) && segment != "" && segment[0] == c:
			segment = segment[1:]
		case !isPlain(c) && len(segment) >= 3 && segment[0] == '%' && segment[1] == hex[c>>4] && segment[2] == hex[c&15]:
			segment = segment[3:]
		default:
			return false
		}
	}
	return segment == ""
}

func isPlain(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}
