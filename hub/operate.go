package hub

import "context"

// The part of the hub for its operator, whose work may take long.

// Operate begins work on the hub that may take long, such as [Hub.Export], also on its engine. The context
// that it returns ends with ctx, and with the cause [ErrDraining] when the hub closes: [Hub.Close] waits until done has been
// called, once. Operate returns [ErrDraining] after Close.
func (h *Hub) Operate(ctx context.Context) (_ context.Context, done func(), err error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil, nil, ErrDraining
	}
	h.operations.Add(1) // before Close waits, which has to set closed first
	ctx, cancel := context.WithCancelCause(ctx)
	end := context.AfterFunc(h.life, func() { cancel(ErrDraining) })
	return ctx, func() {
		end()
		cancel(nil)
		h.operations.Done()
	}, nil
}
