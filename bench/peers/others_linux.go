package peers

import (
	"context"
	_ "embed" // as in peers_linux.go
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/caddy-realtime/realtime/bench/load"
	"github.com/caddy-realtime/realtime/bench/process"
)

//go:embed files/nginx.conf
var nginxConfig string

const nchanModule = "usr/lib/nginx/modules/ngx_nchan_module.so"

func startNchan(ctx context.Context, o Options, name string, workers int) (*Server, error) {
	root, err := findNchan(ctx, filepath.Join(o.Cache, "nchan"))
	if err != nil {
		return nil, err
	}
	ports, err := process.FreePorts(1)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(o.Dir, "nginx"+strconv.Itoa(workers))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConfig, workers, dir, filepath.Join(root, nchanModule), ports[0])
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	program := filepath.Join(root, "usr/sbin/nginx")
	s := &Server{
		Name: name, Port: ports[0], Path: underRT,
		Kinds: []load.Kind{load.WebSocket, load.Events},
	}
	if out, err := exec.CommandContext(ctx, program, "-v").CombinedOutput(); err == nil {
		_, s.Version, _ = strings.Cut(strings.TrimSpace(string(out)), ": ")
	}
	if debs, _ := filepath.Glob(filepath.Join(root, "libnginx-mod-nchan_*.deb")); len(debs) > 0 {
		version := strings.Split(filepath.Base(debs[0]), "_")[1]
		s.Version += ", Nchan " + strings.TrimPrefix(version, "1%3a")
	}
	args := []string{program, "-p", dir, "-c", config}
	if _, err := os.Stat("/var/lib/nginx"); err != nil {
		// Debian's nginx needs this folder even if its configuration names others: make
		// one that only nginx sees.
		args = append([]string{"unshare", "-m", "sh", "-c", `mount -t tmpfs none /var/lib && mkdir /var/lib/nginx && exec "$0" "$@"`}, args...)
	}
	s.Process, err = process.Start(exec.Command(args[0], args[1:]...), filepath.Join(dir, "log"), ports...)
	return s, err
}

// findNchan returns the root below which nginx and its module are: the system's,
// or Debian's packages unpacked in dir.
func findNchan(ctx context.Context, dir string) (string, error) {
	for _, root := range []string{"/", dir} {
		_, err := os.Stat(filepath.Join(root, nchanModule))
		_, err2 := os.Stat(filepath.Join(root, "usr/sbin/nginx"))
		if err == nil && err2 == nil {
			return root, nil
		}
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return "", fmt.Errorf("install nginx and libnginx-mod-nchan: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	script := `set -e
cd "$1"
apt-get download nginx libnginx-mod-nchan || { apt-get update; apt-get download nginx libnginx-mod-nchan; }
for f in *.deb; do dpkg -x "$f" .; done`
	if out, err := exec.CommandContext(ctx, "sh", "-c", script, "sh", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("downloading nginx and libnginx-mod-nchan: %w: %s", err, last(out))
	}
	return dir, nil
}

func last(out []byte) []byte { return out[max(len(out)-300, 0):] }

//go:embed files/socketio.js
var socketIOServer []byte

func startSocketIO(ctx context.Context, o Options) (*Server, error) {
	dir := filepath.Join(o.Cache, "socketio")
	meta := filepath.Join(dir, "node_modules/socket.io/package.json")
	if _, err := os.Stat(meta); err != nil {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--prefix", dir, "socket.io")
		if out, err := install.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("npm install socket.io: %w: %s", err, last(out))
		}
	}
	var pkg struct{ Version string }
	b, err := os.ReadFile(meta)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &pkg); err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "server.js")
	if err := os.WriteFile(program, socketIOServer, 0o600); err != nil {
		return nil, err
	}
	ports, err := process.FreePorts(1)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Name: SocketIO, Version: "Socket.IO " + pkg.Version, Port: ports[0], Publish: load.SocketIO,
		Kinds: []load.Kind{load.SocketIO},
		Path: func(room string) string {
			return "/socket.io/?EIO=4&transport=websocket&room=" + url.QueryEscape(room)
		},
	}
	if out, err := exec.CommandContext(ctx, "node", "--version").Output(); err == nil {
		s.Version += ", Node.js " + strings.TrimSpace(string(out))
	}
	s.Process, err = process.Start(exec.Command("node", "--expose-gc", program, strconv.Itoa(ports[0])), filepath.Join(o.Dir, "socketio.log"), ports...)
	s.Collect = func() error { return s.Signal(syscall.SIGUSR2) }
	return s, err
}
