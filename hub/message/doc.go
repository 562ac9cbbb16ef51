// Package message is what rooms are made of: messages with their positions, the frames that
// say who is there, the forms in which both are written, and the budget that what is kept
// of them is charged to. It knows neither rooms nor sessions.
package message
