package store

import (
	"fmt"
	"slices"
	"sync"

	"faultline/store/tree"
)

// A gather is what GetAll has found.
type gather struct {
	stripes []uint16
	parts   []gathered
	mem     []byte // keys of the tree, and what it has
	values  []byte // the long ones
	now     uint64 // the time, once it was asked for
}

// A gathered is one key of it.
type gathered struct {
	key   span // of mem
	cell  span // of mem
	found tree.Found
	value span // of values, if it is long
	err   error
}

// MaxGetAllBytes is the most bytes that the values of one GetAll may have together.
const MaxGetAllBytes = 64 << 20

// keptGather is the largest memory of a gather that is kept for the next one.
const keptGather = 1 << 20

// done keeps g for the next GetAll, unless it has become large.
func (g *gather) done() {
	if cap(g.mem) > keptGather {
		g.mem = nil
	}
	if cap(g.values) > keptGather {
		g.values = nil
	}
	gathers.Put(g)
}

// errGather is of values that are too long together.
var errGather = fmt.Errorf("values of more than %d bytes together: %w", MaxGetAllBytes, ErrTooLarge)

var gathers = sync.Pool{New: func() any { return new(gather) }}

// GetAll reads the values of keys as they are at one moment, and then calls visit with
// each in turn: with its place in keys and the value, which is valid until visit returns,
// or with ErrNotFound or what else kept it from being read. It returns the first error
// of visit, which ends it, or ErrClosed. All values are in memory at once: with more than
// MaxGetAllBytes it calls visit for none, and the error wraps ErrTooLarge.
func (ks *Keyspace) GetAll(keys [][]byte, visit func(i int, value []byte, err error) error) error {
	g := gathers.Get().(*gather)
	defer g.done()
	db := ks.db
	for {
		if db.closed.Load() {
			return ErrClosed
		}
		renewals := db.spaces.renewals.Load()
		gen, err := ks.generation()
		if err != nil {
			return err
		}
		if !g.look(db, ks.slot, gen, keys) {
			return errGather
		}
		same := g.readLong(db)
		if db.closed.Load() {
			return ErrClosed
		}
		if same && db.spaces.renewals.Load() == renewals {
			break
		}
	}
	for i := range g.parts {
		p := &g.parts[i]
		value := p.cell.of(g.mem)
		if p.found == tree.Long {
			value = p.value.of(g.values)
		}
		if p.err != nil {
			value = nil
		}
		if err := visit(i, value, p.err); err != nil {
			return err
		}
	}
	return nil
}

// look reads what the tree has for keys of a keyspace, while nobody writes to them. It
// returns false if that is too much.
func (g *gather) look(db *DB, slot, gen byte, keys [][]byte) (fits bool) {
	g.stripes, g.parts, g.mem = g.stripes[:0], g.parts[:0], g.mem[:0]
	for _, key := range keys {
		g.stripes = append(g.stripes, stripeOf(db.hash(key)))
	}
	g.stripes = sorted(g.stripes)
	db.lock(g.stripes)
	defer db.unlock(g.stripes)
	g.now = 0
	long := 0 // bytes of long values
	for _, key := range keys {
		p := g.find(db, slot, gen, key)
		g.parts = append(g.parts, p)
		if p.found == tree.Long {
			r, _ := db.parseRef(p.cell.of(g.mem)) // readLong says what is wrong with it
			long += r.Bytes
		}
		if len(g.mem)+long > MaxGetAllBytes {
			return false
		}
	}
	g.values = slices.Grow(g.values[:0], long)
	return true
}

// find is look for one key. All keys expire by the same time, or one that was written
// together with another would be gone before it.
func (g *gather) find(db *DB, slot, gen byte, key []byte) (p gathered) {
	from := len(g.mem)
	g.mem = append(append(g.mem, slot, gen), key...)
	p.key = span{from, len(g.mem)}
	var expiry uint64
	g.mem, p.found, expiry, p.err = db.tree.GetExpiring(g.mem, p.key.of(g.mem))
	if expiry != 0 && g.now == 0 {
		g.now = db.clock.now()
	}
	if expiry != 0 && expiry <= g.now {
		g.mem, p.found = g.mem[:p.key.to], tree.Nothing
	}
	p.cell = span{p.key.to, len(g.mem)}
	switch {
	case p.err != nil:
		p.err = db.readError(p.err)
	case p.found == tree.Nothing:
		p.err = ErrNotFound
	}
	return p
}

// readLong reads the long values, without a lock. same is false if one of them could not
// be read since it has been replaced.
func (g *gather) readLong(db *DB) (same bool) {
	g.values = g.values[:0]
	for i := range g.parts {
		p := &g.parts[i]
		if p.found != tree.Long {
			continue
		}
		r, err := db.parseRef(p.cell.of(g.mem))
		from := len(g.values)
		if err == nil {
			g.values, err = db.readRef(g.values, r, whole)
		}
		if err != nil && !db.still(p.key.of(g.mem), p.cell.of(g.mem)) {
			return false
		}
		p.value, p.err = span{from, len(g.values)}, err
	}
	return true
}

// still tells whether key, one of the tree, has the long value with ref, as far as can be read.
func (db *DB) still(key, ref []byte) bool {
	var buf [tree.MaxEntryBytes]byte
	now, found, err := db.tree.Get(buf[:0], key)
	return err != nil || found == tree.Long && string(now) == string(ref)
}
