package server

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// watches says which connections WATCH which keys. A transaction compares what its keys
// hold, too; this table is for what a comparison cannot see: a key that was written and
// holds the same again.
//
//	connection                         another
//	watch(key): in the table
//	reads what the key holds
//	                                   commits a write of key
//	                                   touched(key): dirty = true
//	EXEC: dirty, so nothing is done
//
// The key is in the table before it is read, and it is touched after the commit, so a
// write between the two is seen.
type watches struct {
	count  atomic.Int64 // in all shards, so that touched takes no lock while it is 0
	seed   maphash.Seed
	shards [64]watchShard
}

type watchShard struct {
	mu   sync.Mutex
	keys map[watchedKey][]watcher
}

type watchedKey struct {
	db  int
	key string
}

type watcher struct {
	conn    *conn
	existed bool // the key was there; else FLUSHDB does not touch it
}

func (w *watches) init() {
	w.seed = maphash.MakeSeed()
	for i := range w.shards {
		w.shards[i].keys = make(map[watchedKey][]watcher)
	}
}

func (w *watches) shard(key []byte) *watchShard {
	return &w.shards[maphash.Bytes(w.seed, key)%uint64(len(w.shards))]
}

// watch puts a key of the selected database under watch until unwatch. Call it before
// the key is read; watchedAbsent says afterwards that it was not there.
func (c *conn) watch(key []byte) {
	k := watchedKey{c.db, string(key)}
	if slices.Contains(c.watched, k) {
		return
	}
	c.watched = append(c.watched, k)
	w := &c.srv.watches
	s := w.shard(key)
	s.mu.Lock()
	s.keys[k] = append(s.keys[k], watcher{conn: c, existed: true})
	s.mu.Unlock()
	w.count.Add(1)
}

// watchedAbsent says that a key, which is under watch, did not exist.
func (c *conn) watchedAbsent(key []byte) {
	s := c.srv.watches.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.keys[watchedKey{c.db, string(key)}]
	for i := range list {
		if list[i].conn == c {
			list[i].existed = false
		}
	}
}

// unwatch ends every watch of c. Call it when a transaction ends, and when c does.
func (c *conn) unwatch() {
	w := &c.srv.watches
	for _, k := range c.watched {
		s := w.shard([]byte(k.key))
		s.mu.Lock()
		list := slices.DeleteFunc(s.keys[k], func(x watcher) bool { return x.conn == c })
		if s.keys[k] = list; len(list) == 0 {
			delete(s.keys, k)
		}
		s.mu.Unlock()
	}
	w.count.Add(-int64(len(c.watched)))
	c.watched = nil
	c.dirty.Store(false)
}

// touch marks those who watch a key.
func (w *watches) touch(db int, key []byte) {
	s := w.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.keys[watchedKey{db, string(key)}] {
		x.conn.dirty.Store(true)
	}
}

// flush marks those who watch a key of db that existed. All databases if db is negative.
func (w *watches) flush(db int) {
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		for k, list := range s.keys {
			for _, x := range list {
				if x.existed && (db < 0 || k.db == db) {
					x.conn.dirty.Store(true)
				}
			}
		}
		s.mu.Unlock()
	}
}

// touched tells of a write by c that has been made: those who WATCH the key, and those
// who cache it. Every command calls it for each key that it has changed, after the
// commit and before its reply. It costs two loads if nobody wants to know.
func (c *conn) touched(key []byte) { c.srv.touched(c, c.db, key) }

// flushed tells that all keys of a database are gone, of all databases if db is negative.
func (c *conn) flushed(db int) {
	if c.srv.watches.count.Load() > 0 {
		c.srv.watches.flush(db)
	}
	c.srv.tracking.flush(c)
}

// touched is conn.touched for any database; from is nil if no client has made the
// change, as when a key expires.
func (s *Server) touched(from *conn, db int, key []byte) {
	if s.watches.count.Load() > 0 {
		s.watches.touch(db, key)
	}
	if s.tracking.clients.Load() > 0 {
		s.tracking.touch(from, key)
	}
}
