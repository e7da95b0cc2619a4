package store

import "iter"

// Backward walks the keys from the last that is less than upper down to lower, in
// order; nil is no bound. See All.
func (db *DB) Backward(lower, upper []byte) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		it, err := db.NewIterator(&IterOptions{Lower: lower, Upper: upper})
		if err != nil {
			yield(Item{}, err)
			return
		}
		for ok := it.Last(); ok; ok = it.Prev() {
			if !yield(Item{Key: it.Key(), Value: it.Value()}, nil) {
				return
			}
		}
		if err := it.Close(); err != nil {
			yield(Item{}, err)
		}
	}
}

// Count returns the number of keys from lower on that are less than upper; nil is no
// bound. It visits each of them, unless there are no bounds: then it is Len.
func (db *DB) Count(lower, upper []byte) (uint64, error) {
	if lower == nil && upper == nil {
		if err := db.usable(); err != nil {
			return 0, err
		}
		return db.Len(), nil
	}
	it, err := db.NewIterator(&IterOptions{Lower: lower, Upper: upper, KeysOnly: true})
	if err != nil {
		return 0, err
	}
	n := uint64(0)
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n, it.Close()
}
