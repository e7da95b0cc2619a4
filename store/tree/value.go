package tree

import (
	"errors"

	"faultline/pagemeta"
)

// A Ref leads to a long value: one that is too large for a leaf, and lies in
// pages of its own. The tree knows which pages those are, and nothing of what is
// in them. In a leaf it stands in the place of the value, little-endian, and the
// slot has the long bit:
//
//	0        8        16       20               28
//	+--------+--------+--------+-------+-------+---- ... ----+
//	|   id   |  lsn   | bytes  | page  | pages | extents ... |
//	+--------+--------+--------+-------+-------+---- ... ----+
//
//	id     random: no other value has it, ever
//	lsn    what is below it in the log is older than the value, if it is of this key
//	bytes  of the value
//	page, pages  an extent: the first page, and how many there are; 16 at most
type Ref struct {
	ID      uint64
	LSN     uint64
	Bytes   int
	Extents []Extent
}

// An Extent is a run of pages, none of them a bitmap.
type Extent struct {
	Page  pagemeta.PageID
	Pages uint32
}

// End is the page after e.
func (e Extent) End() pagemeta.PageID { return e.Page + pagemeta.PageID(e.Pages) }

func (e Extent) overlaps(f Extent) bool { return e.Page < f.End() && f.Page < e.End() }

const (
	// MaxExtents is the most extents of one value.
	MaxExtents = 16
	// MaxExtentPages is the longest extent: there is a bitmap in every group.
	MaxExtentPages = groupPages - 1
	// MaxRefBytes is the size of the largest Ref in a leaf.
	MaxRefBytes = extentsAt + MaxExtents*extentBytes

	refLSNAt    = 8
	refBytesAt  = 16
	extentsAt   = 20
	extentBytes = 8
)

// The longest key with the largest Ref fits a leaf, with when it expires.
const _ = uint(MaxEntryBytes - MaxKeyBytes - MaxRefBytes - ExpiryBytes)

// Append appends r, as it stands in a leaf, to dst.
func (r Ref) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, r.ID)
	dst = le.AppendUint64(dst, r.LSN)
	dst = le.AppendUint32(dst, uint32(r.Bytes))
	return AppendExtents(dst, r.Extents)
}

// AppendExtents appends extents to dst, 8 bytes each.
func AppendExtents(dst []byte, extents []Extent) []byte {
	for _, e := range extents {
		dst = le.AppendUint32(dst, uint32(e.Page))
		dst = le.AppendUint32(dst, e.Pages)
	}
	return dst
}

var errRef = errors.New("no reference to a long value")

// ParseRef returns what Append has written. Whatever b is, the extents are good
// ones; whether the value is theirs is not known.
func ParseRef(b []byte) (Ref, error) {
	if len(b) < extentsAt {
		return Ref{}, errRef
	}
	extents, err := ParseExtents(b[extentsAt:])
	if err != nil || len(extents) == 0 {
		return Ref{}, errRef
	}
	return Ref{le.Uint64(b), le.Uint64(b[refLSNAt:]), int(le.Uint32(b[refBytesAt:])), extents}, nil
}

// ParseExtents is the reverse of AppendExtents. The extents hold no page that
// the tree has for itself, and none twice.
func ParseExtents(b []byte) (extents []Extent, err error) {
	if len(b)%extentBytes != 0 || len(b) > MaxExtents*extentBytes {
		return nil, errRef
	}
	for ; len(b) > 0; b = b[extentBytes:] {
		e := Extent{pagemeta.PageID(le.Uint32(b)), le.Uint32(b[4:])}
		if !e.good() {
			return nil, errRef
		}
		for _, before := range extents {
			if e.overlaps(before) {
				return nil, errRef
			}
		}
		extents = append(extents, e)
	}
	return extents, nil
}

// good tells whether e is a run of pages that may be given to a value.
func (e Extent) good() bool {
	if e.Page <= Root || e.Pages == 0 || e.Pages > MaxExtentPages {
		return false
	}
	last := uint64(e.Page) + uint64(e.Pages) - 1
	if last >= 1<<31 || e.Page%groupPages == bitmapPage {
		return false
	}
	next := uint64(bitmapOf(e.Page))
	if next < uint64(e.Page) {
		next += groupPages
	}
	return last < next
}

// Pages is how many pages extents have together.
func Pages(extents []Extent) (n int) {
	for _, e := range extents {
		n += int(e.Pages)
	}
	return n
}
