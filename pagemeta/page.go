package pagemeta

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"unsafe"
)

// PageBytes is the size of a page: the unit of traps, of the journal and of the
// data file.
const PageBytes = 4096

// A PageID is the number of a page. Page n is bytes 4096*n to 4096*n+4095 of
// the data file.
type PageID uint32

// A Page is the memory of one page. Every page begins with a header,
// little-endian:
//
//	0        4        8        12     13    14    16
//	+--------+--------+--------+------+-----+-----+--- ... ---+
//	| crc32c | number | round  | kind |  0  |  0  | contents  |
//	+--------+--------+--------+------+-----+-----+--- ... ---+
//
//	crc32c  over bytes 4 to 4095
//	number  its PageID, so that a page written to a wrong place is found out
//	round   the flush round that wrote it: no page may be newer than the superblock
//	kind    what the page is, for the tree; 0 in a page that was made and never
//	        used: it may be written, and is never read back
//	0       zero; byte 14 is what Touch stores to
//
// Crc, number and round are put into an image when it is captured, and are
// stale in memory.
type Page [PageBytes]byte

// NewPages returns n pages of zeros at addresses that are multiples of PageBytes, as
// direct access to a file needs.
func NewPages(n int) []Page {
	mem := make([]byte, (n+1)*PageBytes-1)
	at := -uintptr(unsafe.Pointer(unsafe.SliceData(mem))) % PageBytes
	return unsafe.Slice((*Page)(unsafe.Pointer(&mem[at])), n)
}

// BytesOf is the memory of pages.
func BytesOf(pages []Page) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(pages))), len(pages)*PageBytes)
}

// NewPage is the only one of NewPages(1).
func NewPage() *Page { return &NewPages(1)[0] }

const (
	crcAt    = 0
	numberAt = 4
	roundAt  = 8
	kindAt   = 12
	touchAt  = 14

	// HeaderBytes is where the contents of a page begin.
	HeaderBytes = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Kind says what the page is.
func (p *Page) Kind() byte { return p[kindAt] }

// SetKind makes the page one of kind k.
func (p *Page) SetKind(k byte) { p[kindAt] = k }

// Round is the flush round that wrote this image.
func (p *Page) Round() uint32 { return binary.LittleEndian.Uint32(p[roundAt:]) }

// Touch stores to p a zero that is there already. On a page that is not
// writable it traps: it is how an operation lets the MMU tell that it is about
// to change the page, before it changes anything.
//
//go:noinline
func (p *Page) Touch() { p[touchAt] = 0 }

// Seal completes the header of an image of page id that round writes.
func (p *Page) Seal(id PageID, round uint32) {
	binary.LittleEndian.PutUint32(p[numberAt:], uint32(id))
	binary.LittleEndian.PutUint32(p[roundAt:], round)
	binary.LittleEndian.PutUint32(p[crcAt:], crc32.Checksum(p[numberAt:], castagnoli))
}

// Check says what is wrong with an image that was read as page id, or nil.
func (p *Page) Check(id PageID) error {
	want := binary.LittleEndian.Uint32(p[crcAt:])
	if got := crc32.Checksum(p[numberAt:], castagnoli); got != want {
		return fmt.Errorf("page %d: crc %#08x, want %#08x", id, got, want)
	}
	if n := PageID(binary.LittleEndian.Uint32(p[numberAt:])); n != id {
		return fmt.Errorf("page %d: holds page %d", id, n)
	}
	return nil
}
