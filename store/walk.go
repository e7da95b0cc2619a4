package store

import (
	"iter"

	"faultline/kv"
)

// An Item is a key with its value.
type Item = kv.Item

// All walks all keys in order, as an Iterator does. Key and value are valid until
// the next turn of the loop. An error ends the walk, and comes with an empty
// Item.
func (ks *Keyspace) All() iter.Seq2[Item, error] { return ks.Range(nil, nil) }

// Range walks the keys from lower on that are less than upper, in order; nil is
// no bound. See All.
func (ks *Keyspace) Range(lower, upper []byte) iter.Seq2[Item, error] {
	return ks.walk(lower, upper, (*Iterator).First, (*Iterator).Next)
}

// Backward is Range from the last key to the first.
func (ks *Keyspace) Backward(lower, upper []byte) iter.Seq2[Item, error] {
	return ks.walk(lower, upper, (*Iterator).Last, (*Iterator).Prev)
}

func (ks *Keyspace) walk(lower, upper []byte, begin, step func(*Iterator) bool) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		it, err := ks.NewIterator(&IterOptions{Lower: lower, Upper: upper})
		if err != nil {
			yield(Item{}, err)
			return
		}
		defer it.Close()
		for ok := begin(it); ok; ok = step(it) {
			if !yield(Item{Key: it.Key(), Value: it.Value()}, nil) {
				return
			}
		}
		if err := it.Err(); err != nil {
			yield(Item{}, err)
		}
	}
}

// Count returns the number of keys from lower on that are less than upper; nil is no
// bound. It visits each of them, unless there are no bounds: then it is Len.
func (ks *Keyspace) Count(lower, upper []byte) (uint64, error) {
	if lower == nil && upper == nil {
		if err := ks.db.usable(); err != nil {
			return 0, err
		}
		return ks.Len(), nil
	}
	it, err := ks.NewIterator(&IterOptions{Lower: lower, Upper: upper, KeysOnly: true})
	if err != nil {
		return 0, err
	}
	n := uint64(0)
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n, it.Close()
}
