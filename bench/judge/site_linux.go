package judge

import (
	"os"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-realtime/realtime/bench/process"
	config "github.com/caddy-realtime/realtime/bench/site"
)

// site is where the Caddy of this process listens.
type site struct{ plain, tls int }

// start loads a Caddy into this process.
func start() (*site, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ports, err := process.FreePorts(2)
	if err != nil {
		return nil, err
	}
	file, err := config.Caddyfile(config.Options{
		Plain: ports[0], TLS: ports[1], Dir: dir,
		Servers: "listener_wrappers {\n\t\t\tbench_tap\n\t\t}", // after TLS, which is first by itself
		Hub:     "heartbeat off",                               // pings would come between the rounds
	})
	if err != nil {
		return nil, err
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(file), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, err
	}
	return &site{plain: ports[0], tls: ports[1]}, caddy.Load(adapted, true)
}
