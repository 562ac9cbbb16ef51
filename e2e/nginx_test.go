package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// nginxConf has places for the user, the address to listen on, that of Caddy, and more
// directives.
const nginxConf = `%sdaemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events {}
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	server {
		listen %s;
		location / {
			proxy_pass http://%s;
			proxy_set_header Host $http_host;
			proxy_buffering on;
			%s
		}
	}
}
`

// nginx starts Debian's nginx before Caddy, which buffers and knows of no
// upgrades: the way that its manual begins with. It returns a site whose
// proxies stand before that. More can be said of the location /.
func (s *site) nginx(t *testing.T, directives string) *site {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Skip("no nginx here: install it (Debian: apt-get install nginx-light)")
		}
	}
	address := freeAddress(t)
	folder := t.TempDir()
	config := filepath.Join(folder, "nginx.conf")
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	err = os.WriteFile(config, fmt.Appendf(nil, nginxConf, user, address, s.backend, directives), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	command := exec.Command(program, "-p", folder, "-c", config, "-e", "stderr")
	command.Stderr = &said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
		if t.Failed() {
			t.Logf("nginx: %s", &said)
		}
	})
	eventually(t, "nginx listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return (&site{backend: address}).another(t)
}

// The chat works behind an nginx that is not configured for it: over events, which ask
// not to be buffered, or, if that is ignored, over long polling.
func TestNginx(t *testing.T) {
	caddy := startSite(t, shortGrace)
	for _, test := range []struct{ name, directives, want string }{
		{"as it comes", "", "sse"},
		{"stubborn", "proxy_ignore_headers X-Accel-Buffering;", "poll"},
		{"as our docs say", "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;", "websocket"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := caddy.nginx(t, test.directives)
			ann := s.open(t, "Ann")[0]
			ann.WaitTransport(test.want)
			caddy.talk(t, ann)
			// The network goes and comes back: nobody notices much.
			s.Refuse()
			s.Cut(0)
			ann.wait(`chat.realtime.state !== 'open'`)
			ann.Say("typed")
			caddy.publish(t, "Zoe", "missed")
			s.Resume()
			ann.WaitText("typed")
			ann.WaitText("missed")
			texts := caddy.texts(t)
			ann.WaitExactly(texts...)
			if len(texts) != len(slices.Compact(slices.Sorted(slices.Values(texts)))) {
				t.Errorf("the room has %q", texts)
			}
		})
	}
}
