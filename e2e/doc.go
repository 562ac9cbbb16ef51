// Package e2e holds the tests that need a browser: the client and the elements
// of scripts/, the pages of site/ and those in testdata, in a headless Chromium,
// against a real Caddy, through a proxy that makes trouble where a test asks for
// it.
//
//	npm ci --prefix e2e                           axe-core, without which its tests skip
//	go test ./e2e                                 all of it, in some minutes
//	go test ./e2e -run TestChat -v                with screenshots; it says where
//	go test ./e2e -run TestImages -update-images  writes the pictures in docs/images
//
// Chromium is looked for in $CHROMIUM, at /usr/bin/chromium and in the PATH.
// Screenshots go to $E2E_SHOTS, else to a folder that is removed with the test.
// The pictures want fonts: Debian's fonts-noto-core, fonts-noto-cjk and
// fonts-noto-color-emoji. Without nginx the test of it skips.
package e2e
