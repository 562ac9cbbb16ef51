package e2e

import (
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestImages takes the pictures that the README shows, and with -update-images
// puts them there.
func TestImages(t *testing.T) {
	folder := t.TempDir()
	if *updateImages {
		folder = "../docs/images"
	}
	s := startSite(t)
	pages := openPages(t, s.URL()+"/?room=harbour", "Ann", "Jonas Berg")
	ann, bob := pages[0], pages[1]
	for _, line := range []struct {
		who  *chatPage
		text string
	}{
		{ann, "Morning! Is the 9:15 still the first boat out today?"},
		{bob, "It is. Wind is fine, and there is coffee on board."},
		{ann, "Perfect. We are five, one with a bicycle."},
		{bob, "Bicycles go in front. I’ll keep you a place by the rail."},
		{bob, "If you come by the east pier, ring twice."},
		{ann, "Will do. By the way: I walked through the tunnel just now, and not one message got lost."},
		{bob, "That’s the idea. I even changed the server’s configuration in the meantime."},
		{ann, "I didn’t notice a thing. See you at the pier!"},
	} {
		line.who.Say(line.text)
		ann.WaitText(line.text)
		bob.WaitText(line.text)
	}
	// A test's address is no example for anybody.
	js[chromedp.Void](ann, `for (const code of document.querySelectorAll('.curl')) code.textContent = code.textContent.replace(location.origin, 'https://example.com')`)
	ann.Look(false, false)
	ann.Screenshot(filepath.Join(folder, "chat.png"))
	ann.Look(true, true)
	ann.Screenshot(filepath.Join(folder, "chat-dark-phone.png"))
}
