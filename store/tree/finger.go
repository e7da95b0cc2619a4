package tree

import (
	"bytes"

	"faultline/pagemeta"
)

// A finger is the leaf that the last writes of an Op went to, with the keys that belong
// to it: a write of one of these needs no way down. So keys that arrive in order need one
// for each leaf, and others pay for a look at a bool.
//
//	     [ .. m         r .. ]
//	         /         /
//	[m .. low ..]   [r ..]          low <= key < high, here r
//
// A leaf gives keys up only by a split or a merge, which changes it: the bounds hold as
// long as the version does.
type finger struct {
	tree    *Tree
	leaf    pagemeta.PageID // of the last way down
	version uint64          // as of the last write
	low     []byte          // the key of the last way down
	high    []byte
	last    bool // there is no key that high would be
	set     bool // all of these are so
	used    bool // since it was set
}

// covers tells whether key belongs to the leaf of f, and that has its version.
func (f *finger) covers(t *Tree, key []byte) bool {
	if !f.set || f.tree != t || !t.pages.Unchanged(f.leaf, f.version) ||
		bytes.Compare(key, f.low) < 0 || !f.last && bytes.Compare(key, f.high) >= 0 {
		return false
	}
	f.used = true
	return true
}

// follow sets f to the leaf id of key, which had version v, if it looks as if more keys
// will come there: the last one did, or f was of use in the leaf before.
func (f *finger) follow(t *Tree, key []byte, id pagemeta.PageID, v uint64) {
	again := f.tree == t && (f.leaf == id || f.set && f.used)
	f.tree, f.leaf, f.version = t, id, v
	f.set, f.used = false, false
	if again {
		f.low = append(f.low[:0], key...)
		f.set = t.boundOf(key, f)
	}
}

// written notes that its own Op has changed the leaf id from version v to another. If that
// is not the one that f has, others have changed the leaf before: Op.At was newer than f.
func (f *finger) written(t *Tree, id pagemeta.PageID, v, version uint64) {
	if f.tree == t && f.leaf == id && f.version == v {
		f.version = version
	}
}

// boundOf finds where the keys of the leaf of f end, to which key belongs: at the next
// separator in the lowest node on the way that has one. It goes down as descend does,
// and returns false if it does not come to the leaf as f has it.
func (t *Tree) boundOf(key []byte, f *finger) bool {
	f.last = true
	id := Root
	v := t.pages.Version(id)
	for above := maxHeight; id != f.leaf; {
		n := t.node(id)
		level := n.level()
		if !n.sane() || level == 0 || !below(level, above) {
			return false
		}
		above = level
		index, child, ok := n.childFor(key)
		if !ok || int(child) >= t.pages.Pages {
			return false
		}
		if index < n.count() {
			suffix, ok := n.suffix(index, innerCellBytes)
			if !ok {
				return false
			}
			f.high, f.last = append(append(f.high[:0], n.prefix()...), suffix...), false
		}
		cv := t.pages.Version(child)
		if !t.pages.Unchanged(id, v) {
			return false
		}
		id, v = child, cv
	}
	return v == f.version
}
