package bolt

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"
)

// What cannot be opened is refused with a text that says what to do, and is left as it is.
func TestRefused(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.db")
	closed(t, opened(t, good, interval))
	change := func(f func(tx *bbolt.Tx) error) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			copyFile(t, good, path)
			db, err := bbolt.Open(path, 0o600, nil)
			if err == nil {
				err = errors.Join(db.Update(f), db.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name, want string
		make       func(t *testing.T, path string)
	}{
		{"empty", "restore it from a backup", func(t *testing.T, path string) { touch(t, path) }},
		{"a folder", "is a folder: name a file", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{"something else", "restore it from a backup", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("text", 10_000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"another database", "has no bucket", change(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketMeta) })},
		{"half of one", "has no bucket", change(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketLog) })},
		{"in a folder that cannot be made", "let the user that Caddy runs as write", func(t *testing.T, path string) {
			notWritable(t, filepath.Dir(path))
		}},
		{"a newer version", "newer version (format 2", change(func(tx *bbolt.Tx) error {
			return (&fileInfo{Format: format + 1}).write(tx)
		})},
		{"its description", "description cannot be read", change(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketMeta).Put(keyFile, []byte("{}"))
		})},
		{"its progress", "does not say how far", change(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyProgress, number(1)) })},
		{"gone, but for its journal", "put the file back", func(t *testing.T, path string) { touch(t, journalPath(path, 1)) }},
		{"open in another process", "another process has the file open", func(t *testing.T, path string) {
			copyFile(t, good, path)
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "rooms.db")
			test.make(t, path)
			before, _ := os.ReadFile(path)
			e := New(path, interval, slog.New(slog.DiscardHandler))
			err := e.Open(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("%v, want one that says %q", err, test.want)
			}
			if now, _ := os.ReadFile(path); string(now) != string(before) {
				t.Error("the file has changed")
			}
			closed(t, e)
		})
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// An engine waits for another one in this process that has the file open, as long as its context lasts.
func TestOpenInThisProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rooms.db")
	first := opened(t, path, interval)
	second := New(path, interval, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := second.Open(ctx); err == nil || !strings.Contains(err.Error(), "another hub of this process") {
		t.Errorf("%v", err)
	}
	done := make(chan error)
	go func() { done <- second.Open(t.Context()) }()
	closed(t, first)
	if err := <-done; err != nil {
		t.Error(err)
	}
	closed(t, second)
}
