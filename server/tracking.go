package server

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"faultline/server/resp"
	"faultline/store"
)

// tracking says which connections are to be told that a key has changed: CLIENT
// TRACKING, by which clients keep values for themselves. By default it notes the keys
// that a connection reads:
//
//	connection A                     connection B
//	GET k: remember(k)
//	       reads the value
//	                                 SET k: commits, touch(k):
//	       <- invalidate k             takes k out of the table, tells A
//
// remember comes before the read and touch after the commit, so that no write is
// missed; a message too many does no harm. With BCAST nothing is noted, and whoever asked
// for the prefix of a key is told of each write.
//
// The table is bounded. A key that is taken out to make room is told to be invalid.
type tracking struct {
	clients atomic.Int64  // that track, so that writes look no further while it is 0
	keys    atomic.Int64  // in the table
	items   atomic.Int64  // in the table: of each key, who is to be told
	most    *atomic.Int64 // of them; 0 = no bound
	seed    maphash.Seed
	shards  [64]trackingShard
	bcast   struct {
		sync.RWMutex
		trackers map[*tracker][]string // with their prefixes
	}
}

type trackingShard struct {
	mu   sync.Mutex
	keys map[string][]*tracker
}

// A tracker is a connection that tracks. It outlives its connection in the table, where
// it is then of no effect.
type tracker struct {
	conn     atomic.Pointer[conn] // nil: no longer
	redirect atomic.Pointer[conn] // who gets the messages; nil: conn
	broken   atomic.Bool          // redirect has gone
	noloop   atomic.Bool          // nothing about what conn itself has written

	shownRedirect atomic.Int64 // redirectID

	// Of the connection's own goroutine.
	redirectID    int64
	bcast         bool
	optin, optout bool
	caching       bool // CLIENT CACHING was called for the command to come
}

func (t *tracking) init(most *atomic.Int64) {
	t.most = most
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].keys = make(map[string][]*tracker)
	}
	t.bcast.trackers = make(map[*tracker][]string)
}

func (t *tracking) shard(key []byte) *trackingShard {
	return &t.shards[maphash.Bytes(t.seed, key)%uint64(len(t.shards))]
}

// trackReads notes the keys that a command reads, before it does.
func (c *conn) trackReads(cmd *command, args [][]byte) {
	if c.tracks == nil || cmd.flags&flagRead == 0 || !c.tracks.notes() {
		return
	}
	n := cmd.keys.of(len(args))
	for i := range n {
		c.srv.tracking.remember(c.tracks, args[cmd.keys.first+i*cmd.keys.step])
	}
}

// notes tells whether the next command's keys are to be noted.
func (t *tracker) notes() bool {
	switch {
	case t.bcast:
		return false
	case t.optin:
		return t.caching
	}
	return !t.optout || !t.caching
}

func (t *tracking) remember(by *tracker, key []byte) {
	s := t.shard(key)
	s.mu.Lock()
	list, known := s.keys[string(key)]
	if !slices.Contains(list, by) {
		had := len(list)
		list = slices.DeleteFunc(list, func(tr *tracker) bool { return tr.conn.Load() == nil }) // they have ended
		s.keys[string(key)] = append(list, by)
		t.items.Add(int64(len(list) + 1 - had))
	}
	most := t.most.Load()
	over := !known && t.keys.Add(1) > most && most > 0
	s.mu.Unlock()
	if over {
		t.evict(s, string(key))
	}
}

// evict takes a key of s out, but not spared unless there is no other, and tells who has
// read it. It is false if there is none.
func (t *tracking) evict(s *trackingShard, spared string) (ok bool) {
	var key string
	var told []*tracker
	s.mu.Lock()
	for k, list := range s.keys { // the first is any
		if ok = k != spared || len(s.keys) == 1; ok {
			key, told = k, list
			delete(s.keys, key)
			t.keys.Add(-1)
			t.items.Add(-int64(len(told)))
			break
		}
	}
	s.mu.Unlock()
	for _, tr := range told {
		tr.tell([][]byte{[]byte(key)}, nil)
	}
	return ok
}

// trim evicts what is beyond the bound, which may have become lower.
func (t *tracking) trim() {
	for i := range t.shards {
		s := &t.shards[i]
		for most := t.most.Load(); most > 0 && t.keys.Load() > most; {
			if !t.evict(s, "") {
				break
			}
		}
	}
}

// announce tells that from has written keys. Every write does, after its commit and
// before its reply.
func (t *tracking) announce(from *conn, keys []written) {
	if t.clients.Load() == 0 {
		return
	}
	for _, k := range keys {
		t.touch(from, k.key)
	}
	t.broadcast(from, keys)
}

// broadcast tells those who have asked for a prefix: one message for each prefix, with
// all keys that one command, or one transaction, has written.
func (t *tracking) broadcast(from *conn, keys []written) {
	t.bcast.RLock()
	defer t.bcast.RUnlock()
	var list [][]byte
	for tr, prefixes := range t.bcast.trackers {
		for _, p := range prefixes {
			list = list[:0]
			for _, k := range keys {
				if n := len(list); n > 0 && string(list[n-1]) == string(k.key) {
					continue
				}
				if len(k.key) >= len(p) && string(k.key[:len(p)]) == p {
					list = append(list, k.key)
				}
			}
			if len(list) > 0 {
				tr.tell(list, from)
			}
		}
	}
}

// Expired tells those who cache key that the store has reclaimed it, and counts it. It is
// store.Options.Expired.
func (s *Server) Expired(_ *store.Keyspace, key []byte) {
	s.stats.expired.Add(1)
	if s.tracking.clients.Load() > 0 {
		s.tracking.announce(nil, []written{{key: key}})
	}
}

// touch tells those who have read key that from has written it.
func (t *tracking) touch(from *conn, key []byte) {
	s := t.shard(key)
	s.mu.Lock()
	list, known := s.keys[string(key)]
	var stay []*tracker
	if known {
		for _, tr := range list {
			if tr.looped(from) {
				stay = append(stay, tr) // it is not told, and what others write concerns it
			}
		}
		if len(stay) > 0 {
			s.keys[string(key)] = stay
		} else {
			delete(s.keys, string(key))
			t.keys.Add(-1)
		}
		t.items.Add(int64(len(stay) - len(list)))
	}
	s.mu.Unlock()
	for _, tr := range list {
		tr.tell([][]byte{key}, from)
	}
}

// flush tells everybody that all keys are invalid.
func (t *tracking) flush(from *conn) {
	if t.clients.Load() == 0 && t.keys.Load() == 0 {
		return
	}
	var told []*tracker
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		t.keys.Add(-int64(len(s.keys)))
		for _, list := range s.keys {
			t.items.Add(-int64(len(list)))
		}
		clear(s.keys)
		s.mu.Unlock()
	}
	srv := from.srv
	srv.mu.Lock()
	for c := range srv.mu.open {
		if tr := c.tracker.Load(); tr != nil {
			told = append(told, tr)
		}
	}
	srv.mu.Unlock()
	for _, tr := range told {
		tr.tell(nil, from)
	}
}

// looped tells whether tr is not to hear of writes of from.
func (tr *tracker) looped(from *conn) bool {
	return from != nil && tr.noloop.Load() && tr.conn.Load() == from
}

// tell says that keys are invalid, all keys if it is nil. It does not keep them.
func (tr *tracker) tell(keys [][]byte, from *conn) {
	c := tr.conn.Load()
	if c == nil || keys != nil && tr.looped(from) {
		return
	}
	to := tr.redirect.Load()
	if to == nil {
		c.notify(keys, from)
	} else if !to.notify(keys, from) {
		tr.lose(from)
	}
}

// lose notes that redirect has gone, and tells it once.
func (tr *tracker) lose(from *conn) {
	if c := tr.conn.Load(); c != nil && !tr.broken.Swap(true) {
		c.notifyBroken(from)
	}
}

// A trackingRequest is the arguments of CLIENT TRACKING ON.
type trackingRequest struct {
	redirect                     *conn
	redirectID                   int64
	bcast, optin, optout, noloop bool
	prefixes                     []string
}

// startTracking makes c track, or track in another way.
func (c *conn) startTracking(r *trackingRequest) {
	tr, t := c.tracks, &c.srv.tracking
	if tr == nil {
		tr = new(tracker)
		tr.conn.Store(c)
		c.tracks = tr
		c.tracker.Store(tr)
		t.clients.Add(1)
	}
	tr.redirect.Store(r.redirect)
	tr.redirectID = r.redirectID
	tr.shownRedirect.Store(r.redirectID)
	tr.broken.Store(false)
	tr.noloop.Store(r.noloop)
	tr.bcast, tr.optin, tr.optout = r.bcast, r.optin, r.optout
	if !r.bcast {
		return
	}
	t.bcast.Lock()
	defer t.bcast.Unlock()
	if len(r.prefixes) == 0 {
		r.prefixes = []string{""}
	}
	for _, p := range r.prefixes {
		if !slices.Contains(t.bcast.trackers[tr], p) {
			t.bcast.trackers[tr] = append(t.bcast.trackers[tr], p)
		}
	}
}

// stopTracking is for CLIENT TRACKING OFF, RESET, and the end of c. What the table has of
// it goes with time.
func (c *conn) stopTracking() {
	if c.tracks == nil {
		return
	}
	t := &c.srv.tracking
	t.bcast.Lock()
	delete(t.bcast.trackers, c.tracks)
	t.bcast.Unlock()
	c.tracks.conn.Store(nil)
	c.tracks.redirect.Store(nil)
	c.tracks = nil
	c.tracker.Store(nil)
	t.clients.Add(-1)
}

// prefixCount is how many prefixes there are, of all that broadcast.
func (t *tracking) prefixCount() int {
	t.bcast.RLock()
	defer t.bcast.RUnlock()
	distinct := make(map[string]struct{})
	for _, prefixes := range t.bcast.trackers {
		for _, p := range prefixes {
			distinct[p] = struct{}{}
		}
	}
	return len(distinct)
}

// prefixes returns those that c is told of.
func (c *conn) prefixes() []string {
	t := &c.srv.tracking
	t.bcast.RLock()
	defer t.bcast.RUnlock()
	return slices.Clone(t.bcast.trackers[c.tracks])
}

func cmdClientTracking(c *conn, args [][]byte) {
	r, errText := c.parseTracking(args[3:])
	on := isWord(args[2], "on")
	switch {
	case errText == "" && on:
		errText = c.checkTracking(&r)
	case errText == "" && !isWord(args[2], "off"):
		errText = errSyntax
	}
	if errText != "" {
		c.out.Error(errText)
		return
	}
	if on {
		c.startTracking(&r)
	} else {
		c.stopTracking()
	}
	c.out.Status("OK")
}

// parseTracking returns the error's text if the arguments are wrong.
func (c *conn) parseTracking(args [][]byte) (r trackingRequest, errText string) {
	for w := (words{rest: args}); w.next(); {
		switch {
		case w.takes("redirect"):
			if r.redirectID != 0 {
				return r, "ERR A client can only redirect to a single other client"
			}
			id, ok := resp.ParseInt(w.value())
			if !ok {
				return r, errNotInteger
			}
			if r.redirect = c.srv.find(id); r.redirect == nil {
				return r, "ERR The client ID you want redirect to does not exist"
			}
			r.redirectID = id
		case w.takes("prefix"):
			r.prefixes = append(r.prefixes, string(w.value()))
		case w.is("bcast"):
			r.bcast = true
		case w.is("optin"):
			r.optin = true
		case w.is("optout"):
			r.optout = true
		case w.is("noloop"):
			r.noloop = true
		default:
			return r, errSyntax
		}
	}
	return r, ""
}

// checkTracking returns the error's text if r contradicts itself, or what c does.
func (c *conn) checkTracking(r *trackingRequest) (errText string) {
	old := c.tracks
	switch {
	case !r.bcast && len(r.prefixes) > 0:
		return "ERR PREFIX option requires BCAST mode to be enabled"
	case old != nil && old.bcast != r.bcast:
		return "ERR You can't switch BCAST mode on/off before disabling tracking for this client, " +
			"and then re-enabling it with a different mode."
	case r.bcast && (r.optin || r.optout):
		return "ERR OPTIN and OPTOUT are not compatible with BCAST"
	case r.optin && r.optout:
		return "ERR You can't specify both OPTIN mode and OPTOUT mode"
	case old != nil && (r.optin && old.optout || r.optout && old.optin):
		return "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, " +
			"and then re-enabling it with a different mode."
	}
	existing := c.prefixes()
	for i, p := range r.prefixes {
		for _, q := range existing {
			if overlap(p, q) {
				return "ERR Prefix '" + p + "' overlaps with an existing prefix '" + q +
					"'. Prefixes for a single client must not overlap."
			}
		}
		for _, q := range r.prefixes[i+1:] {
			if overlap(p, q) {
				return "ERR Prefix '" + p + "' overlaps with another provided prefix '" + q +
					"'. Prefixes for a single client must not overlap."
			}
		}
	}
	return ""
}

// overlap tells whether some key can begin with both.
func overlap(p, q string) bool { return strings.HasPrefix(p, q) || strings.HasPrefix(q, p) }

func cmdClientCaching(c *conn, args [][]byte) {
	t := c.tracks
	switch {
	case t == nil:
		c.out.Error("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
	case isWord(args[2], "yes") && !t.optin:
		c.out.Error("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
	case isWord(args[2], "no") && !t.optout:
		c.out.Error("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
	case !isWord(args[2], "yes") && !isWord(args[2], "no"):
		c.out.Error(errSyntax)
	default:
		t.caching = true
		c.out.Status("OK")
	}
}

func cmdClientGetredir(c *conn, _ [][]byte) {
	if c.tracks == nil {
		c.out.Int(-1)
		return
	}
	c.out.Int(c.tracks.redirectID)
}

func cmdClientTrackinginfo(c *conn, _ [][]byte) {
	flags, prefixes, redirect := []string{"off"}, []string(nil), int64(-1)
	if t := c.tracks; t != nil {
		flags, prefixes, redirect = t.words(), c.prefixes(), t.redirectID
	}
	c.out.Map(3)
	c.out.BulkString("flags")
	c.out.Set(len(flags))
	for _, f := range flags {
		c.out.BulkString(f)
	}
	c.out.BulkString("redirect")
	c.out.Int(redirect)
	c.out.BulkString("prefixes")
	c.out.Array(len(prefixes))
	for _, p := range slices.Sorted(slices.Values(prefixes)) {
		c.out.BulkString(p)
	}
}

// words are the flags of CLIENT TRACKINGINFO.
func (t *tracker) words() []string {
	words := []string{"on"}
	for _, f := range []struct {
		is   bool
		word string
	}{
		{t.bcast, "bcast"},
		{t.optin, "optin"},
		{t.optin && t.caching, "caching-yes"},
		{t.optout, "optout"},
		{t.optout && t.caching, "caching-no"},
		{t.noloop.Load(), "noloop"},
		{t.broken.Load(), "broken_redirect"},
	} {
		if f.is {
			words = append(words, f.word)
		}
	}
	return words
}

// afterCommand ends the effect of CLIENT CACHING, which is for one command, or for one
// transaction.
func (t *tracker) afterCommand(cmd *command, inTransaction bool) {
	if !inTransaction && !strings.HasPrefix(cmd.full, "client|") {
		t.caching = false
	}
}
