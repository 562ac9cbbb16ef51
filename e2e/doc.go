// Package e2e holds the tests that need a browser: the chat page of site/, in a
// headless Chromium, against a real Caddy, through a proxy that makes trouble
// where a test asks for it.
//
//	go test ./e2e                                 all of it, in about a minute
//	go test ./e2e -run TestChat -v                with screenshots; it says where
//	go test ./e2e -run TestImages -update-images  writes the pictures in docs/images
//
// Chromium is looked for in $CHROMIUM, at /usr/bin/chromium and in the PATH.
// Screenshots go to $E2E_SHOTS, else to a folder that is removed with the test.
package e2e
