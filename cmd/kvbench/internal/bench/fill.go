package bench

import "faultline/cmd/kvbench/internal/keys"

// fillSeq writes new keys in order. The clients take turns, so that the keys of
// all together arrive nearly in order too.
func fillSeq(c *client) error {
	return c.each(func(i int) error { return c.put(c.place(i)) })
}

// fillRandom writes new keys in random order, each once.
func fillRandom(c *client) error {
	order := keys.NewPermutation(c.space.N, c.seed)
	return c.each(func(i int) error { return c.put(order.At(c.place(i))) })
}

// fillBatch writes new keys in order, in batches. An operation is a key, a latency
// that of a batch.
func fillBatch(c *client) error {
	batch := c.db.NewBatch()
	return c.each(func(i int) error {
		first := c.place(i) * uint64(c.per)
		for k := range uint64(c.per) {
			c.names.Put(c.key, first+k)
			if err := batch.Put(c.key, c.values.next()); err != nil {
				return err
			}
		}
		c.puts += c.per
		return batch.Commit()
	})
}

// loadRecords writes YCSB's records in the order of their numbers, which is no order
// of their keys.
func loadRecords(c *client) error { return fillSeq(c) }

// overwrite writes keys that are there, drawn at random.
func overwrite(c *client) error {
	return c.each(func(int) error { return c.put(c.draw.Next()) })
}

// overwriteAlong is overwrite beside clients that read.
func overwriteAlong(c *client) error {
	c.part = partWrite
	return overwrite(c)
}

// deleteRandom deletes keys drawn at random, as db_bench does: some of them are gone
// already.
func deleteRandom(c *client) error {
	return c.each(func(int) error {
		c.names.Put(c.key, c.draw.Next())
		return c.db.Delete(c.key)
	})
}
