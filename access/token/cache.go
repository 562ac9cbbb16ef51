package token

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// maxCached is how many good tokens are remembered. One more takes the place of the one that
// was not used for the longest time.
const maxCached = 10_000

// verified is a token that was good, and the key that verified it.
type verified struct {
	token *Token
	key   *key
}

type digest = [sha256.Size]byte

// cache remembers good tokens by their hash. The zero cache is empty.
type cache struct {
	mu    sync.Mutex
	known map[digest]*list.Element
	used  list.List // of cached, the last used first
}

type cached struct {
	digest   digest
	verified *verified
}

// get returns a token that was good, and has not expired since; else nil.
func (c *cache) get(d digest, now time.Time) *verified {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.known[d]
	if !ok {
		return nil
	}
	v := e.Value.(cached).verified
	if !now.Before(v.token.Expires) {
		c.remove(e)
		return nil
	}
	c.used.MoveToFront(e)
	return v
}

func (c *cache) add(d digest, v *verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[digest]*list.Element)
	}
	if e, again := c.known[d]; again {
		c.remove(e)
	}
	if c.used.Len() >= maxCached {
		c.remove(c.used.Back())
	}
	c.known[d] = c.used.PushFront(cached{d, v})
}

func (c *cache) remove(e *list.Element) {
	delete(c.known, e.Value.(cached).digest)
	c.used.Remove(e)
}
