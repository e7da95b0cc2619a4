package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"faultline/pagemeta"
	"faultline/store/tree"
)

// The superblock is page 0 of the data file. It is written in every flush round,
// with the other pages of the cut, and says what they are. Little-endian:
//
//	0        16       24        28       32     48    56      60     64     72      76       80        88
//	+--------+--------+---------+--------+------+-----+-------+------+------+-------+--------+---------+
//	| header | magic  | version | segment| uuid | lsn | pages | used | dead | inner | values | through |
//	+--------+--------+---------+--------+------+-----+-------+------+------+-------+--------+---------+
//	88              1880   1884
//	+----- ... -----+------+---- ... ----+
//	| slots ...     | open | open ...    |
//	+----- ... -----+------+---- ... ----+
//
//	version  of the format of the whole directory
//	segment  bytes of a file of the log
//	uuid     random, made once; the log is salted with it
//	lsn      the cut: the pages hold all records below it
//	pages    of the data file; what is beyond is not in use
//	used     pages in use
//	dead     keys that are of no current generation, see Keyspace
//	inner    nodes of the tree that are not leaves
//	values   pages in use by long values
//	through  the pages hold no record above it, and all long values below it
//	slots    128 of them, each as
//
//	0     1      2          8          14
//	+-----+------+----------+----------+
//	| gen | born |   keys   | expiring |
//	+-----+------+----------+----------+
//
//	open     long values that are being written then, each as
//
//	0        8        12        16
//	+--------+--------+---------+---- ... ----+
//	|   id   | bytes  | extents | extents ... |     see tree.Ref
//	+--------+--------+---------+---- ... ----+
//
// Its last eight bytes are the flusher's (flusher/rounds.go).
const (
	superMagic    = "fltline\n"
	formatVersion = 4

	superMagicAt   = pagemeta.HeaderBytes
	superVersionAt = 24
	superSegmentAt = 28
	superUUIDAt    = 32
	superLSNAt     = 48
	superPagesAt   = 56
	superUsedAt    = 60
	superDeadAt    = 64
	superInnerAt   = 72
	superValuesAt  = 76
	superThroughAt = 80
	superSlotsAt   = 88
	slotBytes      = 14
	superOpenAt    = superSlotsAt + tree.MaxSlots*slotBytes
	openAt         = superOpenAt + 4
	openEnd        = pagemeta.PageBytes - 8

	openExtentsAt = 16
	extentBytes   = 8
)

// There is room for all values that may be open.
const _ = uint(openEnd - openAt - maxOpen*(openExtentsAt+tree.MaxExtents*extentBytes))

var le = binary.LittleEndian

type superblock struct {
	segmentBytes int64
	uuid         [16]byte
	lsn          uint64
	through      uint64
	tree         tree.State
	born         [tree.MaxSlots]byte // generation that each slot's keyspace was born with
}

// salt is what the records of this store's log are salted with: those of
// another store never pass for its own.
func (s *superblock) salt() uint32 {
	return crc32.Checksum(s.uuid[:], crc32.MakeTable(crc32.Castagnoli))
}

func newSuperblock(segmentBytes int64) superblock {
	s := superblock{segmentBytes: segmentBytes}
	rand.Read(s.uuid[:]) // never fails
	return s
}

// put writes s into p, page 0, and the values that are open.
func (s *superblock) put(p *pagemeta.Page, open []tree.Ref) {
	p.SetKind(tree.KindSuper)
	copy(p[superMagicAt:], superMagic)
	le.PutUint32(p[superVersionAt:], formatVersion)
	le.PutUint32(p[superSegmentAt:], uint32(s.segmentBytes))
	copy(p[superUUIDAt:], s.uuid[:])
	le.PutUint64(p[superLSNAt:], s.lsn)
	le.PutUint32(p[superPagesAt:], s.tree.Pages)
	le.PutUint32(p[superUsedAt:], s.tree.Used)
	le.PutUint64(p[superDeadAt:], s.tree.Dead)
	le.PutUint32(p[superInnerAt:], s.tree.Inner)
	le.PutUint32(p[superValuesAt:], s.tree.Values)
	le.PutUint64(p[superThroughAt:], s.through)
	for i, slot := range s.tree.Slots {
		b := p[superSlotsAt+i*slotBytes:][:slotBytes]
		b[0], b[1] = slot.Gen, s.born[i]
		put48(b[2:], slot.Keys)
		put48(b[8:], slot.Expiring)
	}
	le.PutUint32(p[superOpenAt:], uint32(len(open)))
	clear(p[openAt:openEnd])
	b := p[openAt:openAt:openEnd]
	for _, r := range open {
		b = le.AppendUint64(b, r.ID)
		b = le.AppendUint32(b, uint32(r.Bytes))
		b = le.AppendUint32(b, uint32(len(r.Extents)))
		b = tree.AppendExtents(b, r.Extents)
	}
}

// parse reads s from p, whose checksum is right, and the values that were open.
func (s *superblock) parse(p *pagemeta.Page) (open []tree.Ref, err error) {
	if p.Kind() != tree.KindSuper || string(p[superMagicAt:superVersionAt]) != superMagic {
		return nil, fmt.Errorf("page 0 is no superblock: %w", ErrNotStore)
	}
	if v := le.Uint32(p[superVersionAt:]); v != formatVersion {
		return nil, fmt.Errorf("format version %d, this program knows %d", v, formatVersion)
	}
	s.segmentBytes = int64(le.Uint32(p[superSegmentAt:]))
	copy(s.uuid[:], p[superUUIDAt:])
	s.lsn, s.through = le.Uint64(p[superLSNAt:]), le.Uint64(p[superThroughAt:])
	s.tree = tree.State{
		Pages: le.Uint32(p[superPagesAt:]),
		Used:  le.Uint32(p[superUsedAt:]),
		Dead:  le.Uint64(p[superDeadAt:]),
		Inner: le.Uint32(p[superInnerAt:]),

		Values: le.Uint32(p[superValuesAt:]),
	}
	for i := range s.tree.Slots {
		b := p[superSlotsAt+i*slotBytes:][:slotBytes]
		s.tree.Slots[i] = tree.SlotState{Gen: b[0], Keys: uint48(b[2:]), Expiring: uint48(b[8:])}
		s.born[i] = b[1]
	}
	b := p[openAt:openEnd]
	for range le.Uint32(p[superOpenAt:]) {
		r, n, err := parseOpen(b)
		if err != nil || len(open) == maxOpen {
			return nil, fmt.Errorf("%w: page 0: open value %d: %w", ErrCorrupt, len(open), err)
		}
		open, b = append(open, r), b[n:]
	}
	return open, nil
}

func put48(b []byte, v uint64) {
	le.PutUint32(b, uint32(v))
	le.PutUint16(b[4:], uint16(v>>32))
}

func uint48(b []byte) uint64 { return uint64(le.Uint32(b)) | uint64(le.Uint16(b[4:]))<<32 }

// parseOpen returns the open value that b begins with, and its length in b.
func parseOpen(b []byte) (r tree.Ref, n int, err error) {
	if len(b) < openExtentsAt {
		return r, 0, errors.New("past the end of the page")
	}
	r.ID, r.Bytes, n = le.Uint64(b), int(le.Uint32(b[8:])), int(le.Uint32(b[12:]))
	if n > tree.MaxExtents || len(b) < openExtentsAt+n*extentBytes {
		return r, 0, fmt.Errorf("%d extents", n)
	}
	n = openExtentsAt + n*extentBytes
	if r.Extents, err = tree.ParseExtents(b[openExtentsAt:n]); err != nil {
		return r, 0, err
	}
	if r.ID == 0 || valuePages(r.Bytes) > tree.Pages(r.Extents) {
		return r, 0, fmt.Errorf("%d bytes in %d pages", r.Bytes, tree.Pages(r.Extents))
	}
	return r, n, nil
}

// maxLSN is more log than can ever be written, and far from where an LSN, or the
// number of a segment, would overflow.
const maxLSN = 1 << 62

// check says what in s cannot be.
func (s *superblock) check() error {
	switch {
	case !validSegment(s.segmentBytes):
		return fmt.Errorf("log segments of %d bytes", s.segmentBytes)
	case s.lsn > s.through || s.through >= maxLSN:
		return fmt.Errorf("lsn %d, through %d", s.lsn, s.through)
	}
	return nil
}

// onPage0 runs fn on page 0 in memory, writable if intent is ToWrite, in the way
// of every operation.
func (db *DB) onPage0(intent pagemeta.Intent, fn func(p *pagemeta.Page)) error {
	for {
		trap, err := db.tryPage0(intent, fn)
		if !trap.Hit() {
			return err
		}
		if err := db.flusher.Pages.Resolve(&trap, intent); err != nil {
			return err
		}
	}
}

func (db *DB) tryPage0(intent pagemeta.Intent, fn func(p *pagemeta.Page)) (trap pagemeta.Trap, err error) {
	pages := db.flusher.Pages
	defer pages.Catch(&trap, pagemeta.Arm())
	p := pages.Page(0)
	if intent == pagemeta.ToWrite {
		if err := pages.Prepare(0); err != nil {
			return trap, err
		}
		p.Touch()
		trap.Commit()
		p = pages.Writing(0)
	}
	fn(p)
	return trap, nil
}
