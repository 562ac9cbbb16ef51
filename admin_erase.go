package realtime

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddy-realtime/realtime/hub"
)

// eraseRequest is the body of POST /realtime/erase.
type eraseRequest struct {
	User string `json:"user"`
	Hub  string `json:"hub,omitempty"`
}

// check returns an error if no user can be meant.
func (asked *eraseRequest) check() error {
	if asked.User == "" {
		return errors.New("specify user")
	}
	if (&hub.User{ID: asked.User}).Check() != nil {
		return errors.New("invalid user: no user can have this id")
	}
	return nil
}

// eraseAnswer is the answer to it.
type eraseAnswer struct {
	Erased int `json:"erased"` // messages
}

// serveErase serves POST /realtime/erase.
func serveErase(w http.ResponseWriter, r *http.Request) error {
	var asked eraseRequest
	if err := decodeBody(w, r, &asked); err != nil {
		return err
	}
	if err := asked.check(); err != nil {
		return badRequest(err)
	}
	return operate(w, r, asked.Hub, func(o *operation) error {
		erased, err := o.hub.Erase(o.ctx, asked.User)
		if erased > 0 || err == nil {
			o.hub.Logger().Info("messages were erased", audited(r, "erasure", asked.Hub, "user", asked.User, "messages", erased)...)
		}
		if err != nil {
			return fmt.Errorf("%d messages are erased: %w", erased, err)
		}
		return writeAdminJSON(w, eraseAnswer{erased})
	})
}
