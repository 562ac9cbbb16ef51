//go:build !linux

package main

import "errors"

func init() {
	needsLinux := func([]string) error { return errors.New("measuring needs Linux") }
	for _, name := range []string{"all", "behind", "engines", "floor", "kill"} {
		commands[name] = needsLinux
	}
}
