package server

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// watches knows which connections WATCH which keys. A connection whose key is written by
// this server is marked at once, so that a write of the same value counts as one, as in
// Redis. What nobody tells it of, keys that expire and databases that are emptied, EXEC
// finds by itself: it compares the keys with what they were at WATCH, inside its
// transaction. That comparison is what makes EXEC right; the mark comes after a write is
// visible, and EXEC may be faster.
type watches struct {
	n    atomic.Int64 // keys in the table: without them writes need not look
	seed maphash.Seed
	mu   struct {
		sync.Mutex
		keys map[placedKey]map[*conn]struct{}
	}
}

// A placedKey is a key of one of the databases.
type placedKey struct {
	db  int
	key string
}

// A watchedKey is what a key was when it was first watched.
type watchedKey struct {
	placedKey
	found bool
	hash  uint64 // of the value
	at    time.Time
}

func (w *watches) init() {
	w.seed = maphash.MakeSeed()
	w.mu.keys = make(map[placedKey]map[*conn]struct{})
}

// watch begins to watch key. It enters the table before it looks at the key: a write
// that it does not see is one that marks it.
func (c *conn) watch(key []byte) error {
	k := placedKey{c.db, string(key)}
	if !c.srv.watches.enter(k, c) {
		return nil
	}
	c.watching = append(c.watching, watchedKey{placedKey: k})
	c.watchBytes += len(key) + watchedBytes
	return c.look(&c.watching[len(c.watching)-1])
}

// watchedBytes is what a watched key takes beside its bytes, which the connection and the
// table share.
const watchedBytes = 256

// enter notes that c watches k. It is false if it did before.
func (w *watches) enter(k placedKey, c *conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	conns := w.mu.keys[k]
	if _, again := conns[c]; again {
		return false
	}
	if conns == nil {
		conns = make(map[*conn]struct{})
		w.mu.keys[k] = conns
	}
	conns[c] = struct{}{}
	w.n.Add(1)
	return true
}

// look fills in what the key has, in the view of now.
func (c *conn) look(k *watchedKey) (err error) {
	v, key := c.view(), []byte(k.key)
	c.scratch, err = v.AppendGet(c.scratch[:0], key)
	if err != nil {
		return orAbsent(err)
	}
	k.found, k.hash = true, maphash.Bytes(c.srv.watches.seed, c.scratch)
	k.at, err = v.Expiry(key)
	return orAbsent(err)
}

// unchanged tells whether the keys are what they were, in the transaction of EXEC.
func (c *conn) unchanged(watched []watchedKey) (same bool, err error) {
	db := c.db
	defer c.use(db) // which was in use, so there is no error
	for _, then := range watched {
		now := watchedKey{placedKey: then.placedKey}
		if err := c.use(then.db); err != nil {
			return false, err
		}
		if err := c.look(&now); err != nil {
			return false, err
		}
		if now.found != then.found || now.hash != then.hash || !now.at.Equal(then.at) {
			return false, nil
		}
	}
	return true, nil
}

// unwatch forgets all that is watched.
func (c *conn) unwatch() {
	if len(c.watching) == 0 {
		return
	}
	w := &c.srv.watches
	w.mu.Lock()
	for i := range c.watching {
		k := c.watching[i].placedKey
		delete(w.mu.keys[k], c)
		if len(w.mu.keys[k]) == 0 {
			delete(w.mu.keys, k)
		}
	}
	w.mu.Unlock()
	w.n.Add(-int64(len(c.watching)))
	c.watching, c.watchBytes = nil, 0
	c.touched.Store(false)
}

// A written is a key that a command has written, as an argument of it.
type written struct {
	db  int
	key []byte
}

// announce marks the connections that watch a key that has been written.
func (w *watches) announce(keys []written) {
	if w.n.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		for c := range w.mu.keys[placedKey{k.db, string(k.key)}] {
			c.touched.Store(true)
		}
	}
}
