package client

import (
	"iter"
	"strconv"

	"faultline/kv"
)

// A page of a range is asked for by the number of keys, and that is chosen so that it
// has some pageBytes. The server ends a page early that becomes longer than 16 MiB, so
// that one of shortPage bytes with too few keys is the last.
const (
	firstPage = 32
	longPage  = 1000
	pageBytes = 256 << 10
	shortPage = 1 << 20
)

// All walks all keys in order. See Range.
func (k *Keyspace) All() iter.Seq2[kv.Item, error] { return k.Range(nil, nil) }

// Range walks the keys from lower on that are less than upper, in order; nil is no
// bound. It asks for some hundred KiB at a time, so that it may be ended early, and
// holds nothing on the server between. Key and value are valid for as long as they
// are kept. An error ends the walk, and comes with an empty Item.
func (k *Keyspace) Range(lower, upper []byte) iter.Seq2[kv.Item, error] {
	return k.walk(atLeast(lower), below(upper), false)
}

// Backward is Range from the last key to the first.
func (k *Keyspace) Backward(lower, upper []byte) iter.Seq2[kv.Item, error] {
	return k.walk(atLeast(lower), below(upper), true)
}

// walk walks the keys between two bounds as KV.RANGE has them.
func (k *Keyspace) walk(from, to string, backward bool) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		limit := firstPage
		for {
			items, err := k.page(from, to, backward, limit)
			if err != nil {
				yield(kv.Item{}, err)
				return
			}
			bytes := 0
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
				bytes += len(item.Key) + len(item.Value)
			}
			if len(items) == 0 || len(items) < limit && bytes < shortPage {
				return
			}
			if last := "(" + string(items[len(items)-1].Key); backward {
				to = last
			} else {
				from = last
			}
			limit = nextLimit(limit, bytes)
		}
	}
}

// nextLimit is how many keys to ask for after a page of so many had so many bytes.
func nextLimit(limit, bytes int) int {
	fits := limit * pageBytes / max(bytes, 1)
	return max(1, min(fits, 4*limit, longPage))
}

// page returns the first keys between two bounds, or the last, backward.
func (k *Keyspace) page(from, to string, backward bool, limit int) ([]kv.Item, error) {
	args := []string{from, to}
	if backward {
		args = append(args, "REV")
	}
	args = append(args, "LIMIT", strconv.Itoa(limit), "WITHVALUES")
	reply, err := k.link.Do(k.ctx, k.link.B().Arbitrary("KV.RANGE").Args(args...).ReadOnly()).ToArray()
	if err != nil {
		return nil, k.link.err(err)
	}
	return items(reply)
}
