package bolt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	bbolt "go.etcd.io/bbolt"
)

func check(t *testing.T, path string) (Report, error) {
	t.Helper()
	return Check(t.Context(), path, func(int) {})
}

func TestCheck(t *testing.T) {
	path, _ := filled(t)
	r, err := check(t, path)
	if err != nil || r.Rooms != 41 && r.Rooms != 40 || r.Messages != 400 || len(r.Damage) > 0 || !r.Clean || r.Bytes < 10_000 || r.Format != format {
		t.Errorf("%+v, %v", r, err)
	}
	e := opened(t, path, interval)
	if _, err := check(t, path); err == nil || !strings.Contains(err.Error(), "has the file open") {
		t.Errorf("a file that is open: %v", err)
	}
	if r, err := check(t, killed(t, e)); err != nil || r.Clean || len(r.Damage) > 0 {
		t.Errorf("of a process that has died: %+v, %v", r, err)
	}
	if _, err := check(t, path+"x"); err == nil {
		t.Error("no file is right")
	}
}

// Whatever is damaged is named.
func TestCheckFindsDamage(t *testing.T) {
	path, _ := filled(t)
	for _, test := range []struct {
		want   string
		damage func(tx *bbolt.Tx) error
	}{
		{`the row of room "room7" cannot be read`, func(tx *bbolt.Tx) error { return tx.Bucket(bucketRooms).Put([]byte("room7"), []byte("x")) }},
		{"rooms, and should be", func(tx *bbolt.Tx) error { return tx.Bucket(bucketRooms).Delete([]byte("room7")) }},
		{"belong to no room", func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketIndex).Cursor()
			k, _ := c.First()
			return tx.Bucket(bucketIndex).Delete(append([]byte(nil), k...))
		}},
		{"cannot be read", func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketLog).Cursor()
			k, v := c.First()
			v = append([]byte(nil), v...)
			v[20] ^= 1
			return tx.Bucket(bucketLog).Put(append([]byte(nil), k...), v)
		}},
	} {
		bad := filepath.Join(t.TempDir(), "bad.db")
		copyFile(t, path, bad)
		db, err := bbolt.Open(bad, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(test.damage); err != nil {
			t.Fatal(err)
		}
		_ = db.Close()
		if r, err := check(t, bad); err != nil || !strings.Contains(strings.Join(r.Damage, "\n"), test.want) {
			t.Errorf("%q, %v; want %q", r.Damage, err, test.want)
		}
	}
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, b[:20_000], 0o600)
	}
	if _, failed := check(t, path); err != nil || failed == nil {
		t.Errorf("%v, %v: it is cut off", err, failed)
	}
}
