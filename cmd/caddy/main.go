// Command caddy is a Caddy with its standard modules and this one, for
// development, for tests and for the demo:
//
//	go run ./cmd/caddy run --config Caddyfile.example
//
// To put the module into a Caddy of your own, with other modules beside it,
// use xcaddy; the README says how.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-realtime/realtime"
)

func main() {
	caddycmd.Main()
}
