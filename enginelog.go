package realtime

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
)

// lastingLog is the logger of an engine. It writes with the logger of the configuration in force, since
// those of earlier ones have ended. It implements [slog.Handler], and is safe for concurrent use.
type lastingLog struct {
	now  *atomic.Pointer[slog.Logger]
	with []func(slog.Handler) slog.Handler // what WithAttrs and WithGroup have added
}

// Enabled implements [slog.Handler].
func (l lastingLog) Enabled(ctx context.Context, level slog.Level) bool {
	return l.now.Load().Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (l lastingLog) Handle(ctx context.Context, r slog.Record) error {
	to := l.now.Load().Handler()
	for _, add := range l.with {
		to = add(to)
	}
	return to.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (l lastingLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return l.adding(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

// WithGroup implements [slog.Handler].
func (l lastingLog) WithGroup(name string) slog.Handler {
	return l.adding(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (l lastingLog) adding(add func(slog.Handler) slog.Handler) slog.Handler {
	return lastingLog{l.now, append(slices.Clip(l.with), add)}
}

// Interface guard
var _ slog.Handler = lastingLog{}
