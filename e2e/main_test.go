package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// patience bounds every single wait.
const patience = 30 * time.Second

var updateImages = flag.Bool("update-images", false, "write the pictures in docs/images")

// TestMain keeps Caddy's files out of the user's folders, and ends the browser that the
// tests share.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "6") // what is parallel here waits most of the time
	home, err := os.MkdirTemp("", "realtime-e2e-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("XDG_DATA_HOME", home)
	os.Setenv("XDG_CONFIG_HOME", home)
	code := m.Run()
	endBrowser()
	os.RemoveAll(home)
	os.Exit(code)
}

var endBrowser = func() {}

// browser is the one Chromium of all tests, started by the first that needs it.
var browser = sync.OnceValues(func() (context.Context, error) {
	path, err := chromium()
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("force-prefers-reduced-motion", true), // frames cost time, with no GPU to make them
	)
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {})) // it reports events that it does not know
	endBrowser = func() { end(); endAllocator() }
	return ctx, chromedp.Do(ctx)
})

func chromium() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range []string{"/usr/bin/chromium", "chromium"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Chromium here: install it (Debian: apt-get install chromium) or name one in $CHROMIUM")
}
