package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"faultline/internal/campaign"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// A patient is a store with a page that cannot be read, or is damaged, and what
// operations that need it must return.
type patient struct {
	t     *testing.T
	db    *DB
	disk  *sickFS
	at    sector // err is 0: the page is damaged
	model map[string]string

	sick, well []string // keys on the page, and others
}

// ail makes page id of the patient sick.
func (p *patient) ail(id int, err syscall.Errno) {
	p.at = sector{filepath.Join(p.db.dir, "data"), int64(id) * pagemeta.PageBytes, err}
	if err != 0 {
		p.disk.bad.Store(&p.at)
		return
	}
	p.flip()
}

func (p *patient) flip() { p.disk.FS.(*memdisk.FS).Bytes(p.at.file)[p.at.at+1000] ^= 4 }

func (p *patient) heal() {
	if p.at.err != 0 {
		p.disk.bad.Store(nil)
		return
	}
	p.flip()
}

// ails tells whether err is that of the page, with file and offset, and stops
// nothing.
func (p *patient) ails(err error) bool {
	cause := error(p.at.err)
	if p.at.err == 0 {
		cause = ErrCorrupt
	}
	return errors.Is(err, cause) && !errors.Is(err, ErrStopped) &&
		strings.Contains(err.Error(), fmt.Sprintf("%s at byte %d:", p.at.file, p.at.at))
}

// examine reads all keys, which brings all other pages into memory, and finds out
// which are on the page.
func (p *patient) examine() {
	for _, k := range slices.Sorted(maps.Keys(p.model)) {
		v, err := p.db.Get([]byte(k))
		switch {
		case err == nil && string(v) == p.model[k]:
			p.well = append(p.well, k)
		case p.ails(err):
			p.sick = append(p.sick, k)
		default:
			p.t.Fatalf("key %q: %.20q, %v", k, v, err)
		}
	}
}

// batch is one that puts new values to keys, and new keys beside them.
func (p *patient) batch(keys ...string) (b *Batch, puts map[string]string) {
	b, puts = &Batch{}, map[string]string{}
	b.WantFound()
	for i, k := range keys {
		for _, k := range []string{k, k + "+"} {
			puts[k] = fmt.Sprintf("%s, of batch %d%s", k, i, strings.Repeat(".", 700))
			if err := b.Put([]byte(k), []byte(puts[k])); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	return b, puts
}

// crowd puts more beside the leaf of key than there is room for, a little at a time,
// and something else before.
func (p *patient) crowd(b *Batch, key string) error {
	err := b.Put([]byte(p.well[0]), []byte("crowd"))
	for i := range 20 {
		err = errors.Join(err, b.Put(fmt.Appendf(nil, "%s+%02d", key, i), make([]byte, 100)),
			b.Put([]byte(p.well[i%len(p.well)]), []byte("crowd")))
	}
	return err
}

// suffers does all that must fail: nothing may come of it.
func (p *patient) suffers(rng *rand.Rand) {
	t, db := p.t, p.db
	k := []byte(p.sick[rng.IntN(len(p.sick))])
	lsn := db.LSN()
	for what, do := range map[string]func(b *Batch) error{
		"put":              func(b *Batch) error { return b.Put(k, []byte("new")) },
		"delete":           func(b *Batch) error { return b.Delete(k) },
		"put of long ones": func(b *Batch) error { return p.crowd(b, string(k)) },
	} {
		var b Batch
		if err := do(&b); err != nil {
			t.Fatal(err)
		}
		if b.Len() == 1 { // else it is kept beside the leaf, which is not read
			b.WantFound()
		}
		if _, err := db.Apply(&b, Async); !p.ails(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := db.Has(k); !p.ails(err) {
		t.Errorf("has: %v", err)
	}
	last := ""
	for item, err := range db.All() {
		if err != nil && (!p.ails(err) || last != before(p.well, p.sick[0])) {
			t.Errorf("walk, after %q: %v", last, err)
		}
		last = string(item.Key)
	}
	if last != "" {
		t.Errorf("the walk ended at %q", last)
	}
	// Forwards and backwards, the key on the page as the last of several.
	keys := []string{p.well[0], p.well[len(p.well)/2], p.well[len(p.well)-1], string(k)}
	for range 2 {
		b, _ := p.batch(keys...)
		if _, err := db.Apply(b, Sync); !p.ails(err) {
			t.Errorf("batch of %q: %v", keys, err)
		}
		slices.Reverse(keys)
	}
	if db.LSN() != lsn {
		t.Errorf("the log has grown from %d to %d", lsn, db.LSN())
	}
	for _, k := range p.well {
		if v, err := db.Get([]byte(k)); err != nil || string(v) != p.model[k] {
			t.Fatalf("key %q of a batch that failed: %.30q, %v", k, v, err)
		}
		if _, err := db.Get([]byte(k + "+")); err != ErrNotFound && !p.ails(err) {
			t.Fatalf("key %q: %v", k+"+", err)
		}
	}
}

// before is the last of keys, which are sorted, that is less than key.
func before(keys []string, key string) string {
	i, _ := slices.BinarySearch(keys, key)
	if i == 0 {
		return ""
	}
	return keys[i-1]
}

// goesOn does what has no need of the page.
func (p *patient) goesOn(rng *rand.Rand) {
	keys := []string{p.well[rng.IntN(len(p.well))], p.well[rng.IntN(len(p.well))]}
	for _, k := range keys {
		p.model[k] = "changed meanwhile"
		if err := p.db.Put([]byte(k), []byte(p.model[k]), Sync); err != nil {
			p.t.Errorf("put to another page: %v", err)
		}
	}
	// Leaves beside the page become sparse, and are not merged with it.
	for i, k := range p.well {
		if i%8 != 0 {
			if err := p.db.Delete([]byte(k), Deferred); err != nil {
				p.t.Errorf("delete from another page: %v", err)
			}
			delete(p.model, k)
		}
	}
	if err := p.db.Checkpoint(context.Background()); err != nil {
		p.t.Errorf("checkpoint: %v", err)
	}
}

// isWell does what failed before, and compares all.
func (p *patient) isWell() {
	b, puts := p.batch(append([]string{p.well[0]}, p.sick...)...)
	if _, err := p.db.Apply(b, Sync); err != nil {
		p.t.Error(err)
	}
	maps.Copy(p.model, puts)
	if err := p.db.Delete([]byte(p.sick[0]), Sync); err != nil {
		p.t.Error(err)
	}
	delete(p.model, p.sick[0])
	p.same()
	if err := p.db.Close(); err != nil {
		p.t.Error(err)
	}
	db, err := Open(p.db.dir, &p.db.opts)
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	p.db = db
	p.same()
}

func (p *patient) same() {
	p.t.Helper()
	wantSame(p.t, contents(p.t, p.db), p.model)
	if _, err := p.db.Verify(context.Background()); err != nil {
		p.t.Error(err)
	}
}

// TestSickPage opens a store of which a page cannot be read, or is damaged. What
// needs the page must fail and say why, each time, with nothing changed; all else
// must go on. Once the disk is well again the same operations must succeed.
func TestSickPage(t *testing.T) {
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 22))
	bothWays(t, func(t *testing.T, trapOnly bool) {
		effort := campaign.Scale(t, 16)
		if raceEnabled {
			effort = 1 + effort/4
		}
		tried := 0
		for n := 0; tried < effort && n < 10*effort; n++ {
			db, s, want := ailing(t, trapOnly)
			p := &patient{t: t, db: db, disk: s, model: want}
			p.ail(3+rng.IntN(int(db.tree.State().Pages)-3), [...]syscall.Errno{0, syscall.EIO}[n%2])
			p.examine()
			if len(p.sick) > 0 && len(p.well) > 0 { // not a free page, or one that Open has read
				p.suffers(rng)
				p.goesOn(rng)
				p.heal()
				p.isWell()
				tried++
			}
			if err := db.Close(); err != nil || t.Failed() {
				t.Fatalf("page at byte %d, %v: close: %v", p.at.at, p.at.err, err)
			}
		}
		if tried == 0 {
			t.Error("no page was tried")
		}
	})
}

// TestSickBitmap is TestSickPage for the page that tells which pages are free: only
// what takes a new page needs it.
func TestSickBitmap(t *testing.T) {
	for _, err := range []syscall.Errno{0, syscall.EIO} {
		db, s, want := ailing(t, false)
		p := &patient{t: t, db: db, disk: s, model: want}
		p.ail(1, err)
		p.examine()
		if len(p.sick) > 0 {
			t.Fatalf("keys %q need page 1", p.sick)
		}
		b, puts := p.batch(p.well[:40]...)
		if _, err := db.Apply(b, Sync); !p.ails(err) {
			t.Errorf("batch that splits pages: %v", err)
		}
		wantSame(t, contents(t, db), p.model)
		k := p.well[7]
		p.model[k] = strings.Repeat("x", len(p.model[k]))
		if err := db.Put([]byte(k), []byte(p.model[k]), Sync); err != nil {
			t.Errorf("put that needs no page: %v", err)
		}
		p.heal()
		if _, err := db.Apply(b, Sync); err != nil {
			t.Error(err)
		}
		maps.Copy(p.model, puts)
		p.same()
	}
}
