package realtime_test

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-realtime/realtime"
)

// The directive, and the JSON that it stands for.
func Example_caddyfile() {
	const caddyfile = `
	http://localhost:8080 {
		realtime {
			heartbeat 15s
			room news/* {
				history 1000 7d
			}
		}
	}`
	json, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(json))
	// Output:
	// {"apps":{"http":{"servers":{"srv0":{"listen":[":8080"],"routes":[{"match":[{"host":["localhost"]}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"realtime","heartbeat":15000000000,"rooms":[{"history":{"age":604800000000000,"count":1000},"pattern":"news/*"}]}]}]}],"terminal":true}],"automatic_https":{"skip":["localhost"]}}}}}}
}
