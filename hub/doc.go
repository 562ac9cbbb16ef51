// Package hub is the core of the realtime module: rooms, their logs, and the
// sessions that read them. It knows neither HTTP nor Caddy nor sockets.
//
// A room is a log. [Caller.Publish] appends a [Message] to it, and the engine gives the
// message its [Position]. A subscription is a cursor in that log: live delivery,
// resuming, history and a slow client's catching up are one read after the cursor. A
// [Session] is one client on any transport. It pulls: the hub wakes the session's
// [Waker] when there is something to send, and the owner of the session calls
// [Session.Next] and writes what it gets. An owner of many sessions implements
// [Dispatcher]: it is notified once for all of them, and reads their [SubscriberGroup].
// Everything that a client can do in a room is a method of a [Caller].
//
//	h, err := hub.New(settings.Defaults(), hub.NewMemory())
//	...
//	wake := make(hub.WakeChan, 1)
//	s, err := h.Connect(hub.Client{}, wake)
//	...
//	_, err = s.Subscribe(ctx, "lobby", hub.Start{Last: 20})
//	for range wake {
//		items, more := s.Next(buf[:0])
//		...
//	}
//
// The promise that every transport passes on: in order within a room, no
// duplicates within an epoch, every gap announced.
//
// Lock order, outermost first: Hub.mu, Session.mu, log.mu (memory engine),
// attendance.mu, room.mu, then budget.mu or SubscriberGroup.mu. No lock is held while anything is written
// to a socket, and Wakers and Dispatchers are called with locks held, so they must
// not call back.
package hub
