package flusher

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"faultline/internal/disk"
	"faultline/internal/offheap"
	"faultline/pagemeta"
)

// The journal holds the images of one round, so that a crash while they are
// written to their places in the data file can be repaired. Each round
// overwrites the one before:
//
//	0                       4096*t                     4096*(t+n)
//	+--------+------- ... --+---------+---------+- ... -+
//	| header | page numbers | image 0 | image 1 |       |
//	+--------+------- ... --+---------+---------+- ... -+
//
//	header, little-endian:
//	0        8        12       16       20       24       28
//	+--------+--------+--------+--------+--------+--------+
//	| magic  | crc32c | version| round  |   n    | images |
//	+--------+--------+--------+--------+--------+--------+
//
// The page numbers follow the header, 4 bytes each, in ascending order: page 0,
// other pages of the data file, those of rounds. Header and numbers fill t whole
// pages. The crc covers all that follows it up to the last number. Each image is a
// page with its own crc, number and round; images is a crc32c of the page headers
// of all images, one after the other.
//
// The journal is whole if every crc is right, and every image is of the page and
// the round that the header says. A journal that is not whole is the trace of a
// crash before step B was complete, and holds nothing. An image that was there
// before has another round in it, or other bytes: a round that was never complete
// is made again under its number after a crash, hence images.
const (
	journalMagic   = "fltjrnl\n"
	journalVersion = 2

	jCrcAt     = 8
	jVersionAt = 12
	jRoundAt   = 16
	jCountAt   = 20
	jImagesAt  = 24
	jNumbersAt = 28
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

type journal struct {
	file disk.File
	mem  []byte // the images of the running round; address space for every page
	used int    // images that mem may have memory for; the table has lent it
	head []byte // header and numbers; address space for those of every page
}

// init reserves the memory for images.
func (j *journal) init(pages int) (err error) {
	if j.head, err = offheap.Reserve(headBytes(pages)); err != nil {
		return err
	}
	j.mem, err = offheap.Reserve(pages * pagemeta.PageBytes)
	return err
}

func (j *journal) close() error {
	return errors.Join(offheap.Release(&j.mem), offheap.Release(&j.head))
}

// use takes memory for n images from the budget of pages. It has the kernel give it at once:
// most of it is touched first by operations that store to Frozen pages, which would wait
// some 3 us for each page.
func (j *journal) use(n int, pages *pagemeta.Table) {
	if n <= j.used {
		return
	}
	pages.Lend(int64(n-j.used) * pagemeta.PageBytes)
	for ; j.used < n; j.used = min(j.used+chunkPages, n) {
		// Where there is none, who touches it finds out.
		_ = offheap.Advise(j.images(j.used, min(j.used+chunkPages, n)), offheap.Populate)
	}
}

// drop gives the memory of all images back.
func (j *journal) drop(pages *pagemeta.Table) error {
	n := j.used
	if n == 0 {
		return nil
	}
	if err := offheap.Drop(j.images(0, n)); err != nil {
		return fmt.Errorf("drop %d images: %w", n, err)
	}
	pages.Lend(-int64(n) * pagemeta.PageBytes)
	j.used = 0
	return nil
}

// clear says that the images are in their places, so that Open need not write
// them again. It is not synced: lost, it costs that work and nothing else.
func (j *journal) clear() error {
	zeros := j.head[:disk.DirectBytes]
	clear(zeros)
	_, err := j.file.WriteAt(zeros, 0)
	return err
}

// image is the memory of slot i.
func (j *journal) image(i int) *pagemeta.Page {
	return (*pagemeta.Page)(j.mem[i*pagemeta.PageBytes:])
}

// images is the memory of the slots from to to.
func (j *journal) images(from, to int) []byte {
	return j.mem[from*pagemeta.PageBytes : to*pagemeta.PageBytes]
}

// sum continues images, a crc of page headers, with those of the slots from to
// to.
func (j *journal) sum(images uint32, from, to int) uint32 {
	for i := from; i < to; i++ {
		images = crc32.Update(images, castagnoli, j.image(i)[:pagemeta.HeaderBytes])
	}
	return images
}

// headBytes is the size of header and numbers of n images: whole pages.
func headBytes(n int) int {
	const page = pagemeta.PageBytes
	return (jNumbersAt + 4*n + page - 1) / page * page
}

// appendHead appends header and numbers of a round to dst; images is the sum of
// its images.
func appendHead(dst []byte, round, images uint32, cut []pagemeta.FrozenPage) []byte {
	from := len(dst)
	dst = append(dst, make([]byte, headBytes(len(cut)))...)
	b := dst[from:]
	copy(b, journalMagic)
	le.PutUint32(b[jVersionAt:], journalVersion)
	le.PutUint32(b[jRoundAt:], round)
	le.PutUint32(b[jCountAt:], uint32(len(cut)))
	le.PutUint32(b[jImagesAt:], images)
	for i, p := range cut {
		le.PutUint32(b[jNumbersAt+4*i:], uint32(p.ID))
	}
	le.PutUint32(b[jCrcAt:], crc32.Checksum(b[jVersionAt:jNumbersAt+4*len(cut)], castagnoli))
	return dst
}

// parseHead returns what the head of a journal says: pages has no Heads. It
// reads only as much of b as the count, checked against its length, allows.
func parseHead(b []byte) (round, images uint32, pages []pagemeta.FrozenPage, err error) {
	if len(b) < jNumbersAt || string(b[:jCrcAt]) != journalMagic {
		return 0, 0, nil, errTorn
	}
	if v := le.Uint32(b[jVersionAt:]); v != journalVersion {
		return 0, 0, nil, fmt.Errorf("journal version %d, this program knows %d", v, journalVersion)
	}
	n := int(le.Uint32(b[jCountAt:]))
	if n > (len(b)-jNumbersAt)/4 {
		return 0, 0, nil, errTorn
	}
	if le.Uint32(b[jCrcAt:]) != crc32.Checksum(b[jVersionAt:jNumbersAt+4*n], castagnoli) {
		return 0, 0, nil, errTorn
	}
	for i := range n {
		pages = append(pages, pagemeta.FrozenPage{ID: pagemeta.PageID(le.Uint32(b[jNumbersAt+4*i:]))})
	}
	return le.Uint32(b[jRoundAt:]), le.Uint32(b[jImagesAt:]), pages, nil
}
