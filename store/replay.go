package store

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"

	"faultline/pagemeta"
	"faultline/store/tree"
	"faultline/store/wal"
)

// A replay makes the writes of the log again, a window of it at a time, in the order of
// the leaves: those of one leaf together, and leaves read ahead, many with one call.
//
//	log     | window | window | window | window | ...
//	          made     waits    filled
//
//	window  a5 c1 b7 a2 c9 b3 ...   writes, as they stand in the log
//	        a5 a2 | b7 b3 | c1 c9   leaf by leaf
//
// Writes to one key are of one leaf, and stay in their order. What a cut finds in the
// middle of a window is like what it finds when changes are kept beside leaves: the pages
// have some of what comes after its LSN, which is where the window begins.
//
// A record that is more than short writes (long values, ranges, renewals) is made alone,
// when all before it are.
type replay struct {
	db      *DB
	filling *window
	ready   chan *window // to be made, one at a time
	empty   chan *window // to be filled
	pending sync.WaitGroup
	ended   chan struct{}
	batch   Batch
	failed  struct {
		sync.Mutex
		err error
	}
}

// A window is a stretch of the log.
type window struct {
	data    []byte // writes, encoded as in a Batch
	writes  []located
	deletes int // of writes
	end     wal.LSN

	order, sorted []uint64 // memory of byLeaf
}

func newWindow(bytes int) *window { return &window{data: make([]byte, 0, bytes)} }

// A located is a write of a window with the leaf it belongs to.
type located struct {
	from, to uint32 // of data
	key      uint32 // where it begins in data
	keyBytes uint16
	at       tree.Place
}

const (
	// windowShare is the part of the Go heap's budget that a window may take.
	windowShare = 4
	// replayLeaves is how many leaves are done in one stay inside the gate.
	replayLeaves = 128
	// replayers is how many goroutines make the writes of a window at most.
	replayers = 4
)

// startReplay begins a replay of the log from LSN from on. The caller calls end.
func (db *DB) startReplay(from wal.LSN) *replay {
	r := &replay{db: db, ready: make(chan *window, 1), empty: make(chan *window, 2), ended: make(chan struct{})}
	bytes := min(db.opts.windowBytes(), int(max(db.log.FilesEnd(), from)-from))
	r.filling = newWindow(bytes)
	r.empty <- newWindow(bytes)
	go func() {
		defer close(r.ended)
		for w := range r.ready {
			if r.err() == nil {
				r.fail(r.make(w))
			}
			w.data, w.writes, w.deletes = w.data[:0], w.writes[:0], 0
			r.empty <- w
			r.pending.Done()
		}
	}()
	return r
}

func (r *replay) err() error {
	r.failed.Lock()
	defer r.failed.Unlock()
	return r.failed.err
}

func (r *replay) fail(err error) {
	r.failed.Lock()
	defer r.failed.Unlock()
	if r.failed.err == nil {
		r.failed.err = err
	}
}

// end ends the replay, because of err if that is not nil. Else it makes what is left.
func (r *replay) end(err error) error {
	r.fail(err)
	r.finish()
	close(r.ready)
	<-r.ended
	return r.err()
}

// finish returns when all is made that was added.
func (r *replay) finish() {
	r.push()
	r.pending.Wait()
}

func (r *replay) push() {
	if len(r.filling.data) == 0 {
		return
	}
	r.pending.Add(1)
	r.ready <- r.filling
	r.filling = <-r.empty
	if r.db.opts.noHelper {
		r.pending.Wait()
	}
}

// add takes the record of the log that ends at end.
func (r *replay) add(payload []byte, end wal.LSN) error {
	w := r.filling
	short, err := r.db.isShort(payload, end), error(nil)
	if short {
		short, err = w.add(payload)
	}
	if err != nil {
		return recordError(err, end)
	}
	if !short {
		r.finish()
		if err := r.err(); err != nil {
			return err
		}
		return recordError(r.db.replayRecord(&r.batch, payload, end), end)
	}
	w.end = end
	if len(w.data)+len(w.writes)*locatedBytes >= r.db.opts.windowBytes() {
		r.push()
		return r.err()
	}
	return nil
}

// locatedBytes is the memory of a located, with that of byLeaf.
const locatedBytes = 32 + 2*8

// windowBytes is how large a window is.
func (o *Options) windowBytes() int {
	return int(heapBytes(o.MemoryBudget) / windowShare)
}

// isShort tells whether a record of the log may have nothing but short writes.
func (db *DB) isShort(payload []byte, end wal.LSN) bool {
	return len(payload) > 0 && payload[0] >= opPut && payload[0] <= opSetExpiry && (uint64(end) > db.known || db.knownLong == 0)
}

// add appends the writes of a record, and after each of a key that expires that of its
// entry in the index. It does nothing and returns false if there is a long one.
func (w *window) add(payload []byte) (short bool, err error) {
	from, writes, deletes := len(w.data), len(w.writes), w.deletes
	for len(payload) > 0 {
		one, more, err := nextWrite(payload)
		if err != nil || one.isLong() {
			w.data, w.writes, w.deletes = w.data[:from], w.writes[:writes], deletes
			return false, err
		}
		if one.op == opDelete {
			w.deletes++
		}
		n := len(w.data)
		w.data = append(w.data, payload[:len(payload)-len(more)]...)
		w.note(n, len(one.key), behindKey[one.op]+len(one.value))
		if one.expiry != 0 {
			n = len(w.data)
			w.data = appendDueAgain(w.data, &one)
			w.note(n, dueBytes+len(one.key), 0)
		}
		payload = more
	}
	return true, nil
}

// note makes what data has from from on a write, with so many bytes behind its key.
func (w *window) note(from, keyBytes, behind int) {
	to := len(w.data)
	w.writes = append(w.writes, located{
		from: uint32(from), to: uint32(to), key: uint32(to - behind - keyBytes), keyBytes: uint16(keyBytes),
	})
}

// key is that of write i.
func (w *window) key(i int) []byte {
	l := &w.writes[i]
	return w.data[l.key:][:l.keyBytes]
}

// encoded is write i of the window, as it stands in the log.
func (w *window) encoded(i int) []byte { return w.data[w.writes[i].from:w.writes[i].to] }

func (w *window) write(i int) write {
	one, _, _ := nextWrite(w.encoded(i)) // add has looked at it
	return one
}

// make makes the writes of w.
func (r *replay) make(w *window) error {
	n := min(runtime.GOMAXPROCS(0), replayers, len(w.writes)/replayLeaves+1)
	if r.db.opts.noHelper {
		n = 1
	}
	if err := r.db.locateAll(w, n); err != nil {
		return err
	}
	order, ahead := w.byLeaf(), r.db.readsAhead()
	if err := share(n, len(order), func(from, to int) error {
		from, to = w.whole(order, from), w.whole(order, to)
		return r.db.makeWrites(w, order[from:to], ahead)
	}); err != nil {
		return err
	}
	r.db.replayed.Store(uint64(w.end))
	r.db.deferred()
	return nil
}

// share has n goroutines do their part of total things, and returns the first error.
func share(n, total int, do func(from, to int) error) error {
	if n == 1 {
		return do(0, total)
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(total*i/n, total*(i+1)/n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// locateAll finds the leaves of all writes of w, with n goroutines: again, if a merge has
// split a leaf meanwhile, since two writes to one key must come to one leaf.
func (db *DB) locateAll(w *window, n int) error {
	for {
		moves := db.tree.Moves()
		err := share(n, len(w.writes), func(from, to int) error { return db.locate(w, from, to) })
		if err != nil || db.tree.Moves() == moves {
			return err
		}
	}
}

// locate finds the leaves of some writes of w.
func (db *DB) locate(w *window, from, to int) (err error) {
	for i := from; i < to; i++ {
		if w.writes[i].at, err = db.tree.Locate(w.key(i)); err != nil {
			return db.readError(err)
		}
	}
	return nil
}

// byLeaf returns the writes in the order of their leaves, and those of one leaf in the order
// of the log: each is its leaf, and in the lower half its index. It is a radix sort.
func (w *window) byLeaf() []uint64 {
	const digit = 11 // bits
	n := len(w.writes)
	order, sorted := slices.Grow(w.order[:0], n)[:n], slices.Grow(w.sorted[:0], n)[:n]
	last := pagemeta.PageID(0)
	for i := range order {
		leaf := w.writes[i].at.Leaf()
		order[i] = uint64(leaf)<<32 | uint64(i)
		last = max(last, leaf)
	}
	for shift := 32; last > 0; shift, last = shift+digit, last>>digit {
		var next [1 << digit]int // where the next one with a digit goes
		for _, place := range order {
			next[place>>shift%(1<<digit)]++
		}
		sum := 0
		for i, n := range next {
			next[i], sum = sum, sum+n
		}
		for _, place := range order {
			to := &next[place>>shift%(1<<digit)]
			sorted[*to] = place
			*to++
		}
		order, sorted = sorted, order
	}
	w.order, w.sorted = order, sorted
	return order
}

func leafOf(place uint64) pagemeta.PageID { return pagemeta.PageID(place >> 32) }

// whole moves i on to where the writes of a leaf begin.
func (w *window) whole(order []uint64, i int) int {
	for i > 0 && i < len(order) && leafOf(order[i]) == leafOf(order[i-1]) {
		i++
	}
	return i
}

// readsAhead tells whether leaves should be read that writes of a window go to: not if there
// is room for the writes beside them, but not for all the leaves.
func (db *DB) readsAhead() bool {
	_, full := db.tree.Deferring()
	return full || db.opts.ReadOnly || db.flusher.Pages.Holds(int64(db.tree.End()))
}

// makeWrites makes writes of w in the order of their leaves, which are read ahead if that is
// asked for.
func (db *DB) makeWrites(w *window, order []uint64, readAhead bool) error {
	m := maker{db: db, w: w}
	next := m.begin(order, readAhead)
	defer func() { m.ahead.wait() }()
	for len(order) > 0 {
		now, leaves := order[:next], m.leaves
		order = order[next:]
		m.ahead.wait()
		next = m.begin(order, readAhead)
		if err := m.make(now, leaves); err != nil {
			return err
		}
	}
	return nil
}

// A maker makes writes of a window.
type maker struct {
	db     *DB
	w      *window
	ahead  readAhead
	leaves int // that are done next
	op     tree.Op
	writes tree.Writes
	left   []int // writes that a leaf did not take
	batch  Batch
}

// begin has the first leaves of order read, and returns how many writes they have.
func (m *maker) begin(order []uint64, readAhead bool) (writes int) {
	leaves := make([]pagemeta.PageID, 0, replayLeaves)
	for ; writes < len(order); writes++ {
		leaf := leafOf(order[writes])
		if n := len(leaves); n > 0 && leaves[n-1] == leaf {
			continue
		}
		if len(leaves) == replayLeaves {
			break
		}
		leaves = append(leaves, leaf)
	}
	if m.leaves = len(leaves); !readAhead {
		leaves = nil
	}
	m.ahead.begin(m.db.tree, leaves)
	return writes
}

// make makes the writes of order, which are of so many leaves.
func (m *maker) make(order []uint64, leaves int) error {
	m.left = m.left[:0]
	grant, err := m.db.flusher.Begin(context.Background(), leaves+m.forMerges(order), 0)
	if err != nil {
		return err
	}
	for len(order) > 0 {
		n := 1
		for n < len(order) && leafOf(order[n]) == leafOf(order[0]) {
			n++
		}
		if n < len(order) {
			m.db.tree.Expect(m.w.writes[uint32(order[n])].at)
		}
		m.take(order[:n])
		order = order[n:]
	}
	m.db.flusher.End(grant, 0)
	for left := m.left; len(left) > 0; {
		n, err := m.makeLeft(left)
		if err != nil {
			return err
		}
		left = left[n:]
	}
	return nil
}

// forMerges is how many pages the deletes of order may change beyond their leaves, which may be
// merged.
func (m *maker) forMerges(order []uint64) (pages int) {
	if m.w.deletes == 0 {
		return 0
	}
	one, _ := m.db.tree.Credits(1, 0)
	for _, place := range order {
		if m.w.data[m.w.writes[uint32(place)].from] == opDelete {
			pages += one
		}
	}
	return pages
}

// take has a leaf take the writes of order, as far as it can: the others are left.
func (m *maker) take(order []uint64) {
	m.writes.Reset()
	for _, place := range order {
		w := m.w.write(int(uint32(place)))
		c, ok := w.change()
		if !ok {
			break
		}
		m.writes.Add(c)
	}
	made := 0
	if len(m.writes.List) > 0 {
		at := m.w.writes[uint32(order[0])].at
		made, _ = m.db.tree.Take(&m.op, at, m.writes.List) // makeLeft meets the error too, or keeps what is left beside the leaf
	}
	for _, place := range order[made:] {
		m.left = append(m.left, int(uint32(place)))
	}
}

// makeLeft makes the first n of the writes left together, or one that is opSetExpiry.
func (m *maker) makeLeft(left []int) (n int, err error) {
	b := &m.batch
	b.data = b.data[:0]
	m.writes.Reset()
	for ; n < len(left) && n < replayLeaves; n++ {
		w := m.w.write(left[n])
		c, ok := w.change()
		if !ok {
			break
		}
		m.writes.Add(c)
		b.data = append(b.data, m.w.encoded(left[n])...)
	}
	if n > 0 {
		return n, m.db.replayBatch(b, func() error {
			m.writes.Sort()
			_, err := m.db.tree.PutMany(&b.op, m.writes.List)
			return m.db.readError(err)
		})
	}
	b.data = append(b.data, m.w.encoded(left[0])...)
	return 1, m.db.replayBatch(b, func() error {
		w := m.w.write(left[0])
		_, err := m.db.tree.SetExpiry(&b.op, w.key, w.expiry, le.Uint64(w.stamp))
		return m.db.readError(err)
	})
}
