package runs

// allRuns are the parts of the report, in their order. The cheap and most asked
// for come first: what the time is too short for is left out.
var allRuns = []run{
	{
		"Fan-out", "One room, a message at a time: the next one is published when all have got the last.",
		fanHead, fanOut,
	},
	{
		"Rooms", "Rooms of 10 connections. In each round 100 of them publish one message of 128 B each.",
		fanHead, rooms,
	},
	{
		"Bursts", "Ten messages of 128 B sent at once, against one: CPU µs a delivery.",
		[]string{"subscribers", "server", "one by one", "bursts of 10", "ratio", "÷ Go loop one by one"},
		bursts,
	},
	{
		"Message sizes", "One room of 500 connections.",
		fanHead, sizes,
	},
	{
		"Transports", "One room of 1,000 connections, 128 B: CPU µs a delivery.",
		[]string{"", "server", "one by one", "bursts of 10"},
		streams,
	},
	{
		"TLS", "This module, plain and with TLS 1.3: CPU µs a delivery.",
		[]string{"", "transport", "plain", "TLS"},
		encrypted,
	},
	{
		"History", "Rooms × connections of this module, with history and with `history 0`: CPU µs a delivery.",
		[]string{"", "on", "off"},
		history,
	},
	{
		"Open loop", "One room of 1,000 connections, 128 B; messages are published by the clock, whether or " +
			"not the last ones have arrived. The latency is from the moment at which a message was due to be published " +
			"until it was read, by clients on the same cores.",
		[]string{"offered a second", "server", "delivered a second", "CPU µs a delivery", "p50 ms", "p99 ms", "p99.9 ms"},
		openLoop,
	},
	{
		"Slow consumers", "5,000 connections, of which 1 % stop reading, with receive buffers of 4 KiB that 24 MiB " +
			"of messages have filled. Then 5 messages of 256 B a second: latency of the others. At the end the slow ones read again.",
		[]string{"server", "p50 · p99 ms, all read", "p50 · p99 ms, 1 % stalled", "RSS MiB before · stalled · after", "the slow ones"},
		slow,
	},
	{
		"Idle connections", "WebSockets that are held and do nothing, by servers just started. Memory is resident and private, for one connection, over " +
			"what the server had before: at once, after a rest, and after a garbage collection was asked for. Then one message to each of them.",
		[]string{"server", "connections", "a second", "CPU µs to connect", "B at once", "B after a rest", "B collected", "ms to the last delivery"},
		idle,
	},
	{
		"Sessions", "The hub alone, in this process: sessions without sockets, a tenth of them in one room, the others in rooms of ten. " +
			"Medians of what publishing into the large room takes until it is handed over, of publishing and walking " +
			"through all of its members (without writing), and of leaving it and joining it again.",
		[]string{"sessions", "B each, with their rooms", "to connect and join", "to publish", "and to walk", "to leave and join"},
		sessions,
	},
	{
		"Polling", "100 clients that wait with long-polls on kept connections, each answered by messages; and polls that are answered with 304.",
		[]string{"", "requests a second", "CPU µs a request"},
		polling,
	},
	{
		"Joining and leaving", "Connections that come and go as fast as they can, 256 at a time, beside a room of 500 to which 50 messages a second are published.",
		[]string{"server", "joins a second", "CPU µs for a join and a leave", "p99 ms in the room"},
		churn,
	},
}
