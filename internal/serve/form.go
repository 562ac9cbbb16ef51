package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-realtime/realtime/protocol"
)

// Bounds of a form, in addition to those of its message.
const (
	maxFormFields = 100
	maxFormRest   = 16 << 10 // bytes of everything except the text
	maxFormNames  = 5        // fields that an error names
	maxFormName   = 64       // characters of a name that are kept
)

// isFormData reports whether a body is a form of the type multipart/form-data.
func isFormData(h http.Header) bool { return isOfType(h, "multipart/form-data") }

// formFields reads the fields of a form.
func formFields(contentType string, body []byte) (url.Values, error) {
	media, params, _ := mime.ParseMediaType(contentType)
	if media != "multipart/form-data" {
		fields, err := parseQuery(string(body))
		if err != nil {
			return nil, protocol.Bad("the form cannot be read: %v", err)
		}
		return fields, nil
	}
	if params["boundary"] == "" {
		return nil, protocol.Bad("the form cannot be read: its Content-Type has no boundary; leave it to the browser to set it")
	}
	fields := make(url.Values)
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for n := 0; ; n++ {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return fields, nil
		}
		if err != nil {
			return nil, protocol.Bad("the form cannot be read: %v", err)
		}
		if n == maxFormFields {
			return nil, protocol.Bad("a form may have at most %d fields", maxFormFields)
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, protocol.Bad("the form cannot be read: %v", err)
		}
		_, disposition, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if file, ok := disposition["filename"]; ok {
			if file == "" && len(value) == 0 {
				continue // no file was chosen
			}
			return nil, protocol.Bad("the field %q is a file, which a form cannot publish: POST the file as the body", clip(part.FormName(), maxFormName))
		}
		fields.Add(part.FormName(), string(value))
	}
}

// formContent returns the content that a page's form publishes: its text or, if it has a
// name, an object with text and name, as chats publish it.
func formContent(fields url.Values) (contentType string, body []byte, err error) {
	if !fields.Has("text") {
		return "", nil, withoutText(fields)
	}
	text, name := fields.Get("text"), strings.TrimSpace(fields.Get("name"))
	if name == "" {
		return "text/plain", []byte(text), nil
	}
	if !utf8.ValidString(text + name) {
		return "", nil, protocol.Bad("the form is not UTF-8")
	}
	if runes := []rune(name); len(runes) > maxFormName {
		name = string(runes[:maxFormName])
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(struct {
		Text string `json:"text"`
		Name string `json:"name"`
	}{strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), name}) // as protocol.Content does it
	return "application/json", b.Bytes(), err
}

// withoutText refuses a form without the field text. It names the fields that the form
// has.
func withoutText(fields url.Values) error {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, clip(name, maxFormName))
	}
	if len(names) == 0 {
		return protocol.Bad("the form has no field named text: it is empty")
	}
	slices.Sort(names)
	more := ""
	if len(names) > maxFormNames {
		names, more = names[:maxFormNames], ", …"
	}
	return protocol.Bad("the form has no field named text, which holds what is published; it has %s", strings.Join(names, ", ")+more)
}

// back redirects the browser to the page of its form, if that is on this site;
// otherwise the browser stays where it is. A path that begins like //evil.example would name another host
// (RFC 3986, section 4.2; for browsers a backslash is a slash).
func back(w http.ResponseWriter, r *http.Request) {
	referer, err := url.Parse(r.Referer())
	if err != nil || referer.Scheme != "http" && referer.Scheme != "https" || referer.Host == "" || !strings.EqualFold(referer.Host, r.Host) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	path := referer.RequestURI()
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.HasPrefix(path, `/\`) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
}
