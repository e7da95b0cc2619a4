package bench

import (
	"bytes"
	"math"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/keys"
)

// readRandom gets keys that are there, drawn at random.
func readRandom(c *client) error {
	return c.each(func(int) error { return c.get(c.draw.Next()) })
}

// readZipf gets keys of which few are read often.
func readZipf(c *client) error {
	return c.each(func(int) error { return c.get(c.scrambled.Next()) })
}

// readMissing gets keys that are not there: each is one that is there and a dot, as
// db_bench has it.
func readMissing(c *client) error {
	missing := append(c.key, '.')
	return c.each(func(int) error {
		c.names.Put(missing[:len(c.key)], c.draw.Next())
		found, err := c.reader.Get(missing)
		if found {
			c.found++ // verify wants none
		}
		return err
	})
}

// readSeq reads the store from first to last. An operation is an entry.
func readSeq(c *client) error {
	return c.walk(func(it engine.Iterator) (bool, func() bool) { return it.First(), it.Next })
}

// readReverse reads the store from last to first.
func readReverse(c *client) error {
	return c.walk(func(it engine.Iterator) (bool, func() bool) { return it.Last(), it.Prev })
}

// seekRandom seeks a key that is there, with a new iterator as db_bench does,
// and reads on from it.
func seekRandom(c *client) error {
	return c.each(func(int) error { return c.scan(c.draw.Next(), c.nexts) })
}

// scan seeks a key that is there, and reads up to n entries from it.
func (c *client) scan(from uint64, n int) error {
	c.names.Put(c.key, from)
	it, err := c.db.NewIterator()
	if err != nil {
		return err
	}
	ok := it.SeekGE(c.key)
	c.sought++
	if ok && bytes.Equal(it.Key(), c.key) {
		c.found++
	}
	for range n {
		if !ok {
			break
		}
		c.sum += engine.Touch(it.Value())
		c.entries++
		ok = it.Next()
	}
	return it.Close()
}

// walk reads the whole store, once or, where the run gives it a time, until that is
// over. begin places an iterator and returns what moves it on.
func (c *client) walk(begin func(engine.Iterator) (ok bool, next func() bool)) error {
	for again := true; again; {
		it, err := c.db.NewIterator()
		if err != nil {
			return err
		}
		ok, next := begin(it)
		again = ok && c.pass(it, next) && c.calls == math.MaxInt
		if err := it.Close(); err != nil {
			return err
		}
	}
	c.entries = c.done
	return nil
}

// pass reads what is left of a scan that is at its first entry, and times some of the
// entries. The gaps are random, so that they do not fall in step with the pages of
// a store. It returns whether there is time left.
func (c *client) pass(it engine.Iterator, next func() bool) bool {
	gaps := keys.NewDraw(2*everyStep-3, c.seed) // a timed entry and the one before it are no gap
	sampleAt := c.done + int(gaps.Next())
	start := c.now() // of the entry that is timed
	for ok := true; ok; ok = next() {
		key := it.Key()
		c.sum += uint64(key[len(key)-1]) + engine.Touch(it.Value())
		c.done++
		if c.done <= sampleAt {
			continue
		}
		now := c.now()
		if c.done == sampleAt+1 {
			start = now // the next entry is timed
			continue
		}
		c.record(now-start, everyStep)
		sampleAt = c.done + int(gaps.Next())
		if now > c.deadline || c.publish() {
			return false
		}
	}
	return c.now() <= c.deadline && !c.publish()
}
