package realtime

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// word reads the option's one argument and checks it.
func word(d *caddyfile.Dispenser, check func(string) error) (string, error) {
	name := d.Val()
	if !d.NextArg() {
		return "", d.ArgErr()
	}
	if check != nil {
		if err := check(d.Val()); err != nil {
			return "", d.WrapErr(err)
		}
	}
	if d.Val() == "" {
		return "", d.Errf("%s must not be empty", name)
	}
	return d.Val(), nil
}

// words reads one or more arguments, which must differ.
func words(d *caddyfile.Dispenser, check func(string) error, same func(a, b string) bool) ([]string, error) {
	name := d.Val()
	all := d.RemainingArgs()
	if len(all) == 0 {
		return nil, d.ArgErr()
	}
	for i, w := range all {
		if err := check(w); err != nil {
			return nil, d.WrapErr(err)
		}
		if slices.ContainsFunc(all[:i], func(o string) bool { return same(o, w) }) {
			return nil, d.Errf("%s: %s already specified", name, w)
		}
	}
	return all, nil
}

// onOff reads on or off.
func onOff(d *caddyfile.Dispenser) (bool, error) {
	name := d.Val()
	arg, err := word(d, nil)
	if err == nil && arg != "on" && arg != "off" {
		err = d.Errf("invalid %s %q: must be on or off", name, arg)
	}
	return arg == "on", err
}

// size reads a number of bytes, like 64KiB, or off.
func size(d *caddyfile.Dispenser) (int64, error) {
	name := d.Val()
	arg, err := word(d, nil)
	if err != nil || arg == "off" {
		return off, err
	}
	n, err := humanize.ParseBytes(arg)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, d.Errf("invalid %s %q: must be a size like 64KiB or 1MB, or off", name, arg)
	}
	return int64(n), nil
}

// count reads a positive number, or off.
func count(d *caddyfile.Dispenser) (int, error) {
	name := d.Val()
	arg, err := word(d, nil)
	if err != nil || arg == "off" {
		return off, err
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n < 1 {
		return 0, d.Errf("invalid %s %q: must be a positive number or off", name, arg)
	}
	return n, nil
}

// duration reads a positive duration, or off.
func duration(d *caddyfile.Dispenser) (caddy.Duration, error) {
	name := d.Val()
	arg, err := word(d, nil)
	if err != nil || arg == "off" {
		return off, err
	}
	t, err := caddy.ParseDuration(arg)
	if err != nil || t <= 0 {
		return 0, d.Errf("invalid %s %q: must be a duration like 30s, 10m or 7d, or off", name, arg)
	}
	return caddy.Duration(t), nil
}

// seconds reads a duration from a second to an hour, or off.
func seconds(d *caddyfile.Dispenser) (caddy.Duration, error) {
	name := d.Val()
	t, err := duration(d)
	if err == nil && checkSeconds(name, t) != nil {
		err = d.WrapErr(checkSeconds(name, t))
	}
	return t, err
}

// rate reads a rate, per second unless it has another unit, and its burst; or off.
func rate(d *caddyfile.Dispenser) (*Rate, error) {
	name := d.Val()
	arg, err := word(d, nil)
	if err != nil {
		return nil, err
	}
	if arg == "off" {
		return &Rate{PerSecond: off}, nil
	}
	number, unit, _ := strings.Cut(arg, "/")
	per, known := map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !known || !(n > 0) || math.IsInf(n, 0) {
		return nil, d.Errf("invalid %s %q: must be a rate like 10, 10/s, 100/m or 5/h, or off", name, arg)
	}
	r := &Rate{PerSecond: n / per}
	if d.NextArg() {
		if r.Burst, err = strconv.Atoi(d.Val()); err != nil || r.Burst < 1 {
			return nil, d.Errf("invalid %s burst %q: must be a positive number of messages", name, d.Val())
		}
	}
	if _, err := r.settings(); err != nil {
		return nil, d.WrapErr(err)
	}
	return r, nil
}

// history reads how many messages are kept, and up to what age.
func history(d *caddyfile.Dispenser) (*History, error) {
	arg, err := word(d, nil)
	if err != nil {
		return nil, err
	}
	h := new(History)
	if arg == "off" {
		h.Count = off
	} else if h.Count, err = strconv.Atoi(arg); err != nil || h.Count < 0 {
		return nil, d.Errf("invalid history count %q: must be at least 0, or off", arg)
	}
	if !d.NextArg() {
		return h, nil
	}
	if d.Val() == "off" {
		h.Age = off
		return h, nil
	}
	t, err := caddy.ParseDuration(d.Val())
	if err != nil || t <= 0 {
		return nil, d.Errf("invalid history age %q: must be a duration like 10m, 24h or 7d, or off", d.Val())
	}
	h.Age = caddy.Duration(t)
	return h, nil
}

// presence reads what a room shows of its members, and how long they stay after their
// connections have ended.
func presence(d *caddyfile.Dispenser) (*Presence, error) {
	arg, err := word(d, nil)
	if err != nil {
		return nil, err
	}
	p := &Presence{Mode: arg}
	if d.NextArg() {
		grace, err := caddy.ParseDuration(d.Val())
		switch {
		case d.Val() == "off":
			grace = off
		case err != nil || grace <= 0:
			return nil, d.Errf("invalid presence grace %q: must be a duration like 10s, or off", d.Val())
		}
		p.Grace = caddy.Duration(grace)
	}
	if _, err := p.settings(); err != nil {
		return nil, d.WrapErr(err)
	}
	return p, nil
}
