package realtime

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// running is a hub of a running Caddy, whose admin API a command asks.
type running struct{ hub, address, config, adapter string }

// What commands say of the flags of running.
const (
	runningUsage = " [--hub <name>] [--address <address>] [--config <path>] [--adapter <name>]"
	runningHelp  = `
--hub is the name of the hub, if the handler has one.

--address is the address of the admin API. Without it, it is that in the file of
--config, or else the default, localhost:2019.`
)

// bind adds the flags that say which it is.
func (c *running) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&c.hub, "hub", "", "The hub's name")
	flags.StringVar(&c.address, "address", "", "The address of the admin API, if it is not the default")
	flags.StringVarP(&c.config, "config", "c", "", "Configuration file that has the address of the admin API")
	flags.StringVarP(&c.adapter, "adapter", "a", "", "Name of the config adapter for --config")
}

// send sends a request. The caller closes the answer's body.
func (c *running) send(method, uri string, headers http.Header, body io.Reader) (*http.Response, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(c.address, nil, c.config, c.adapter)
	if err != nil {
		return nil, fmt.Errorf("finding the admin API: %w", err)
	}
	return caddycmd.AdminAPIRequest(address, method, uri, headers, body)
}

// ask sends a request, and decodes the answer. A request with a body is a POST.
func (c *running) ask(uri string, body, answer any) error {
	method, content := http.MethodGet, io.Reader(nil)
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		method, content = http.MethodPost, bytes.NewReader(b)
	}
	resp, err := c.send(method, uri, nil, content)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(answer)
}
