package store

import (
	"sync"

	"faultline/store/tree"
)

// A gather is what GetAll has found.
type gather struct {
	stripes []uint16
	parts   []gathered
	mem     []byte // keys of the tree, and what it has
	values  []byte // the long ones
}

// A gathered is one key of it.
type gathered struct {
	key   span // of mem
	cell  span // of mem
	found tree.Found
	value span // of values, if it is long
	err   error
}

var gathers = sync.Pool{New: func() any { return new(gather) }}

// GetAll reads the values of keys as they are at one moment, and then calls visit with
// each in turn: with its place in keys and the value, which is valid until visit returns,
// or with ErrNotFound or what else kept it from being read. It returns the first error
// of visit, which ends it, or ErrClosed. All values are in memory at once.
func (ks *Keyspace) GetAll(keys [][]byte, visit func(i int, value []byte, err error) error) error {
	g := gathers.Get().(*gather)
	defer gathers.Put(g)
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
		g.look(db, ks.slot, gen, keys)
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

// look reads what the tree has for keys of a keyspace, while nobody writes to them.
func (g *gather) look(db *DB, slot, gen byte, keys [][]byte) {
	g.stripes, g.parts, g.mem = g.stripes[:0], g.parts[:0], g.mem[:0]
	for _, key := range keys {
		g.stripes = append(g.stripes, stripeOf(db.hash(key)))
	}
	g.stripes = sorted(g.stripes)
	db.lock(g.stripes)
	defer db.unlock(g.stripes)
	for _, key := range keys {
		var p gathered
		from := len(g.mem)
		g.mem = append(append(g.mem, slot, gen), key...)
		p.key = span{from, len(g.mem)}
		g.mem, p.found, _, p.err = db.get(g.mem, p.key.of(g.mem))
		p.cell = span{p.key.to, len(g.mem)}
		switch {
		case p.err != nil:
			p.err = db.readError(p.err)
		case p.found == tree.Nothing:
			p.err = ErrNotFound
		}
		g.parts = append(g.parts, p)
	}
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
			g.values, err = db.readRef(g.values, r, 0, wholeValue)
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
