package e2e

import (
	"path/filepath"
	"testing"
)

// TestImages takes the pictures that the README and the docs show, and with
// -update-images puts them there. axe-core finds nothing wrong with what they
// show, and nothing is wider than its place.
func TestImages(t *testing.T) {
	folder := t.TempDir()
	if *updateImages {
		folder = "../docs/images"
	}
	for _, look := range looks {
		t.Run(look.file, func(t *testing.T) {
			p := look.show(t, "ui on")
			if filepath.Ext(look.file) != "" {
				p.Screenshot(filepath.Join(folder, look.file))
			}
			if js[bool](p, `!!chat`) {
				p.wantNarrow(look.file)
			}
			p.wantAccessible(look.file)
		})
	}
}
