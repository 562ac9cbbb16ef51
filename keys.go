package realtime

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// keyPlaceholder matches a key that stands elsewhere: in the environment or in a file.
var keyPlaceholder = regexp.MustCompile(`^\{(env|file)\.[^{}]+\}$`)

// checkKey checks a key as it is configured. One that stands elsewhere is checked when it is read.
// No error holds the key: a typo must not bring it into a log.
func checkKey(configured string, check func(key string) error) error {
	switch {
	case keyPlaceholder.MatchString(configured):
		return nil
	case configured == "":
		return errors.New("the key must not be empty")
	case strings.ContainsAny(configured, "{}"):
		return errors.New("a key with braces must be a single placeholder, {env.*} or {file.*}")
	default:
		return check(configured)
	}
}

// readKey returns a configured key, and whether it stands in the configuration itself.
func readKey(configured string) (key string, plain bool, err error) {
	if !keyPlaceholder.MatchString(configured) {
		return configured, true, nil
	}
	key, err = caddy.NewReplacer().ReplaceOrErr(configured, true, true)
	if err != nil {
		return "", false, fmt.Errorf("the key %s is empty or cannot be read", configured) // that is the placeholder
	}
	return key, false, nil
}

// warnPlainKey logs that everybody who reads the configuration has the keys of an option.
func (h *Handler) warnPlainKey(option, remedy string) {
	h.log.Warn("a key can be read in the configuration", "option", option, "remedy", remedy)
}

// isName reports whether a text is 1 to 64 letters, digits, "-", "_" and ".".
func isName(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

// checkCredentials checks the options about tokens, keys, links and guests.
func (h *Handler) checkCredentials() error {
	errs := []error{h.checkBackends()}
	if h.JWT != nil {
		errs = append(errs, h.JWT.check())
	}
	if h.Links != nil {
		errs = append(errs, h.Links.check())
	}
	if h.Guests != nil {
		errs = append(errs, h.Guests.check())
	}
	return errors.Join(errs...)
}

// provisionCredentials reads the keys of these options.
func (h *Handler) provisionCredentials() error {
	if err := h.provisionBackends(); err != nil {
		return err
	}
	return h.provisionLinks()
}
