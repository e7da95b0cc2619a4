package store

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math/bits"
	"slices"
	"testing"

	"faultline/internal/memdisk"
	"faultline/store/tree"
)

// A digest stands for the contents of a store: how many keys there are, and the sum
// of a hash of each with its value. Two contents have the same by a chance of 2^-64.
type digest struct {
	keys uint64
	sum  uint64
}

var digestSeed = maphash.MakeSeed()

func entryDigest(key, value []byte) uint64 {
	k, v := maphash.Bytes(digestSeed, key), maphash.Bytes(digestSeed, value)
	return (k ^ bits.RotateLeft64(v, 29)) * 0x9e3779b97f4a7c15
}

// A ledgerEntry is what the sum has of a key.
type ledgerEntry struct{ digest, expiry uint64 }

func (e ledgerEntry) sum() uint64 { return e.digest + e.expiry*0xbf58476d1ce4e5b9 }

// digestOf reads the whole store, in key order, and compares it with the index of keys
// that expire, and with Len, which counts those that have expired, too, unless the reaper
// is faster.
func digestOf(db *DB) (d digest, err error) {
	if d, err = walkOf(db); err != nil {
		return d, err
	}
	keys, err := checkIndex(db)
	if n := db.Len(); err == nil && (n > keys || n < d.keys || n < keys && db.opts.noHelper) {
		return d, fmt.Errorf("%d keys found, %d have not expired, Len is %d", keys, d.keys, n)
	}
	return d, err
}

// walkOf is digestOf for a store that has stopped: Len cannot have leaves take in what
// is kept beside them there.
func walkOf(db *DB) (d digest, err error) {
	it, err := db.NewIterator(nil)
	if err != nil {
		return d, err
	}
	var last []byte
	for ok := it.First(); ok; ok = it.Next() {
		if d.keys > 0 && string(it.Key()) <= string(last) {
			return d, fmt.Errorf("key %q after %q", it.Key(), last)
		}
		last = append(last[:0], it.Key()...)
		d.keys++
		d.sum += ledgerEntry{entryDigest(it.Key(), it.Value()), it.course.cursor.Expiry()}.sum()
	}
	return d, it.Err()
}

// A ledger knows what a store must have after each batch.
type ledger struct {
	entries map[string]ledgerEntry // after the last batch
	after   []digest               // 0, 1, 2 ... batches
}

func newLedger() *ledger {
	return &ledger{entries: map[string]ledgerEntry{}, after: make([]digest, 1)}
}

// addClear enters a Clear as the next batch.
func (l *ledger) addClear() {
	clear(l.entries)
	l.after = append(l.after, digest{})
}

// begun is how many batches there are.
func (l *ledger) begun() int { return len(l.after) - 1 }

// add enters the writes of b as the next batch.
func (l *ledger) add(b *Batch) error {
	d := l.after[l.begun()]
	for rest := b.data; len(rest) > 0; {
		w, more, err := nextWrite(rest)
		if err != nil {
			return err
		}
		w.key = w.key[tree.OwnerBytes:]
		e, had := l.entries[string(w.key)]
		d.sum -= e.sum()
		delete(l.entries, string(w.key))
		switch w.op {
		case opPut, opPutExpiring:
			e, had = ledgerEntry{entryDigest(w.key, w.value), w.expiry}, true
		case opSetExpiry:
			e.expiry = w.expiry
		default:
			had = false
		}
		if had && (w.expiry == 0 || w.expiry > filmNow) {
			l.entries[string(w.key)] = e
			d.sum += e.sum()
		}
		rest = more
	}
	d.keys = uint64(len(l.entries))
	l.after = append(l.after, d)
	return nil
}

// addRange enters deletes of the keys from lower on that are less than upper, in order,
// as a batch each.
func (l *ledger) addRange(lower, upper string) error {
	for _, key := range slices.Sorted(maps.Keys(l.entries)) {
		if key < lower || key >= upper {
			continue
		}
		var b Batch
		if err := errors.Join(b.Delete([]byte(key)), l.add(&b)); err != nil {
			return err
		}
	}
	return nil
}

// cut returns a ledger that goes on from the first n batches, which db has.
func (l *ledger) cut(n int, db *DB) (*ledger, error) {
	next := &ledger{entries: map[string]ledgerEntry{}, after: slices.Clone(l.after[:n+1])}
	it, err := db.NewIterator(nil)
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		next.entries[string(it.Key())] = ledgerEntry{entryDigest(it.Key(), it.Value()), it.course.cursor.Expiry()}
	}
	return next, it.Close()
}

// find returns the number of batches, from least to most, after which the contents
// are d. All else is a violation: writes that are lost, torn, doubled, or there
// though one before them is not.
func (l *ledger) find(d digest, least, most int) (int, error) {
	for n := least; n <= most; n++ {
		if l.after[n] == d {
			return n, nil
		}
	}
	if n := slices.Index(l.after, d); n >= 0 {
		return 0, fmt.Errorf("found the first %d batches, want %d to %d", n, least, most)
	}
	return 0, fmt.Errorf("found %d keys that are no prefix of the batches, want the first %d to %d", d.keys, least, most)
}

// A progress is how far a run was at some moment, in batches.
type progress struct {
	durable int // acknowledged as durable
	written int // acknowledged as in the kernel
	begun   int
}

// after returns what a crash leaves of p: as many as are written then must be there
// afterwards.
func (p progress) after(how memdisk.Loss) progress {
	if how != memdisk.Kill && how != memdisk.Keep {
		p.written = p.durable
	}
	return p
}

// TestLedger shows what the oracle of TestExplore finds, with stores that are told
// less or more than the batches: it must accept exactly the prefixes between the
// bounds, and see a batch that is missing before others, one that is there by half,
// one that is made twice behind its successor, and one too many or too few.
func TestLedger(t *testing.T) {
	const n = 20
	led, batches := newLedger(), make([]Batch, n)
	for i := range batches {
		b := &batches[i]
		err := errors.Join(
			b.Put([]byte("last"), fmt.Appendf(nil, "%d", i)),
			b.Put(fmt.Appendf(nil, "own%d", i), nil),
			b.Delete(fmt.Appendf(nil, "own%d", i-4)))
		if err != nil {
			t.Fatal(err)
		}
		if err := led.add(b); err != nil {
			t.Fatal(err)
		}
	}
	var half Batch
	if err := half.Put([]byte("last"), []byte("9")); err != nil {
		t.Fatal(err)
	}
	all := func(from, to int) (some []*Batch) {
		for i := from; i < to; i++ {
			some = append(some, &batches[i])
		}
		return some
	}
	for _, c := range []struct {
		name    string
		made    []*Batch
		least   int
		most    int
		allowed bool
	}{
		{"a prefix", all(0, 9), 5, 12, true},
		{"the least", all(0, 5), 5, 12, true},
		{"the most", all(0, 12), 5, 12, true},
		{"one less than was durable", all(0, 4), 5, 12, false},
		{"one more than was begun", all(0, 13), 5, 12, false},
		{"one missing", append(all(0, 8), all(9, 12)...), 5, 12, false},
		{"the first missing", all(1, 4), 1, 12, false},
		{"half of the last", append(all(0, 9), &half), 5, 12, false},
		{"one again, after its successors", append(all(0, 9), &batches[7]), 5, 12, false},
		{"the last two in the wrong order", append(all(0, 9), &batches[10], &batches[9]), 5, 12, false},
	} {
		db := open(t, t.TempDir(), manner{}.options(memdisk.New()))
		for _, b := range c.made {
			if _, err := db.Apply(b, Deferred); err != nil {
				t.Fatal(err)
			}
		}
		found, err := digestOf(db)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := led.find(found, c.least, c.most); (err == nil) != c.allowed {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
