//go:build !linux

package main

import "errors"

func init() {
	needsLinux := func([]string) error { return errors.New("measuring needs Linux") }
	commands["all"], commands["floor"] = needsLinux, needsLinux
}
