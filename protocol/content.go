package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
)

// ErrContent is wrapped by the errors of [Content].
var ErrContent = errors.New("bad content")

// Content turns a published body of a media type into a message's data. JSON is checked
// and made compact, text must be UTF-8 and gets LF as line ends, everything else is
// left as it is. Without a media type, UTF-8 is text. A body of type
// application/x-www-form-urlencoded is text, so that curl -d publishes its argument.
// Errors wrap [ErrContent].
func Content(contentType string, body []byte) (hub.Kind, []byte, error) {
	if len(contentType) > names.MaxType {
		return 0, nil, fmt.Errorf("%w: the Content-Type has %d bytes, but may have at most %d", ErrContent, len(contentType), names.MaxType)
	}
	if contentType == "" {
		if !utf8.Valid(body) {
			return message.Binary, body, nil
		}
		return message.Text, newlines(body), nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: Content-Type %q: %w", ErrContent, contentType, err)
	}
	isJSON := media == "application/json" || strings.HasSuffix(media, "+json")
	isText := strings.HasPrefix(media, "text/") || media == "application/x-www-form-urlencoded"
	if !isJSON && !isText {
		return message.Binary, body, nil
	}
	if charset := strings.ToLower(params["charset"]); charset != "" && charset != "utf-8" && charset != "utf8" && charset != "us-ascii" {
		return 0, nil, fmt.Errorf("%w: charset %q: text must be UTF-8", ErrContent, charset)
	}
	if !utf8.Valid(body) {
		return 0, nil, fmt.Errorf("%w: the body is not UTF-8, which %s must be; publish bytes as application/octet-stream", ErrContent, media)
	}
	if isText {
		return message.Text, newlines(body), nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, body); err != nil {
		return 0, nil, fmt.Errorf("%w: the body is not JSON: %w", ErrContent, err)
	}
	return message.JSON, compact.Bytes(), nil
}

// newlines turns every line end into LF, the only one that SSE can express.
func newlines(text []byte) []byte {
	if !bytes.ContainsRune(text, '\r') {
		return text
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(text, []byte("\r"), []byte("\n"))
}
