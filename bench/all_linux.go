package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-realtime/realtime/bench/load"
	"github.com/caddy-realtime/realtime/bench/peers"
	"github.com/caddy-realtime/realtime/bench/report"
	"github.com/caddy-realtime/realtime/bench/runs"
)

// runAll measures everything and writes the report.
func runAll(args []string) error {
	flags := flag.NewFlagSet("all", flag.ExitOnError)
	quick := flags.Bool("quick", false, "fewer and shorter runs: 3 minutes")
	only := flags.String("only", "", "a regular expression for titles of what to run, as `Fan-out|Rooms`")
	limit := flags.Duration("time", 0, "how long it may take (default 20m, or 3m if -quick)")
	hub := flags.String("hub", "", "lines to add to the directive, as `compression`")
	out := flags.String("o", "", "where the report goes (default bench/RESULTS.md, nowhere with -only)")
	_ = flags.Parse(args) // exits on an error
	o := runs.Options{Quick: *quick, Progress: status(os.Stderr), Print: func(s string) { fmt.Print(s) }}
	var err error
	if *only != "" {
		if o.Only, err = regexp.Compile(*only); err != nil {
			return err
		}
	}
	if *limit <= 0 {
		if *limit = 20 * time.Minute; *quick {
			*limit = 3 * time.Minute
		}
	}
	if *out == "" && *only == "" {
		if *out, err = resultsFile(); err != nil {
			return err
		}
	}
	// The servers end with the thread that started them.
	runtime.LockOSThread()
	load.RaiseFileLimit()
	if o.Peers, err = places(*hub); err != nil {
		return err
	}
	defer os.RemoveAll(o.Peers.Dir)
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	r := &report.Report{Facts: facts()}
	begin := time.Now()
	err = runs.All(ctx, o, r)
	o.Progress("")
	r.Facts = append(r.Facts, [2]string{"Command", strings.TrimSpace("go run ./bench " + strings.Join(args, " "))},
		[2]string{"Took", time.Since(begin).Round(time.Second).String()})
	if *out != "" {
		err = errors.Join(err, r.Write(*out))
		fmt.Println("\nwritten to", *out)
	}
	return err
}

// places returns where the servers find what they need.
func places(hub string) (peers.Options, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return peers.Options{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return peers.Options{Self: self(), Dir: dir, Cache: filepath.Join(cache, "caddy-realtime-bench"), Hub: hub}, nil
}

// resultsFile returns the name of the report, in the folder of this program's
// source.
func resultsFile() (string, error) {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/caddy-realtime/realtime/bench").Output()
	if err != nil {
		return "", fmt.Errorf("where is the module? Run it within: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "RESULTS.md"), nil
}

// facts returns what is to be known of the machine.
func facts() [][2]string {
	cpu := "unknown"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := strings.Cut(string(b), "model name"); ok {
			line, _, _ := strings.Cut(after, "\n")
			cpu = strings.TrimSpace(strings.TrimLeft(line, "\t :"))
		}
	}
	kernel := "unknown"
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		kernel = "Linux " + unix.ByteSliceToString(name.Release[:])
	}
	return [][2]string{
		{"Date", time.Now().UTC().Format(time.DateOnly)},
		{"CPU", fmt.Sprintf("%s, %d cores", cpu, runtime.NumCPU())},
		{"Kernel", kernel},
		{"Go", strings.TrimPrefix(runtime.Version(), "go")},
	}
}
