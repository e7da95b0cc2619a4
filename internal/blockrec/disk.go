package blockrec

import (
	"fmt"
	"io"
	"sync"
)

const (
	// BlockBytes is the logical block of the device.
	BlockBytes = 4096
	// SectorBytes is what a disk writes whole, in a block of a file.
	SectorBytes = 512
)

// A Kind says what was done to a disk.
type Kind byte

const (
	Write Kind = iota
	Flush
	Mark // nothing was done to the disk: somebody says how far he is
)

// An Op is one line of a log, without the bytes that were written.
type Op struct {
	Kind Kind
	Off  int64  // of a Write
	Len  int    // of a Write
	Text string // of a Mark
}

// An entry is an Op with its bytes.
type entry struct {
	Op
	data []byte
}

// A disk has its bytes in memory, twice at most: once as they are, once in its
// log. It is recorded until a state is shown, and from then on states are shown.
type disk struct {
	mu   sync.Mutex
	size int64

	run   []entry // the log, closed by the first state that is shown
	state *State  // nil: the run goes on

	// flat is what all blocks are that are not in over: while the run goes on,
	// everything; in a state, what the first rolled operations of the run made.
	flat   []byte
	rolled int
	over   map[int64][]byte

	recovery []entry // since state was shown
	again    bool    // a state of the recovery is shown; the recovery is closed
}

func newDisk(size int64) *disk {
	return &disk{size: size, flat: make([]byte, size)}
}

// readAt fills p, and is short at the end of the disk.
func (d *disk) readAt(p []byte, off int64) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off >= d.size {
		return 0
	}
	n := copy(p, d.flat[off:])
	for at := off; at < off+int64(n); at = (at/BlockBytes + 1) * BlockBytes {
		if block := d.over[at/BlockBytes]; block != nil {
			copy(p[at-off:n], block[at%BlockBytes:])
		}
	}
	return n
}

// writeAt writes p, which stays the caller's, and notes it.
func (d *disk) writeAt(p []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off+int64(len(p)) > d.size {
		return io.ErrShortWrite
	}
	if d.state == nil {
		copy(d.flat[off:], p)
	} else {
		d.put(p, off)
	}
	d.note(entry{Op{Kind: Write, Off: off, Len: len(p)}, append([]byte(nil), p...)})
	return nil
}

func (d *disk) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(entry{Op: Op{Kind: Flush}})
}

func (d *disk) mark(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(entry{Op: Op{Kind: Mark, Text: text}})
}

// note adds to the log that is open, if one is.
func (d *disk) note(e entry) {
	switch {
	case d.state == nil:
		d.run = append(d.run, e)
	case !d.again:
		d.recovery = append(d.recovery, e)
	}
}

// put writes p above flat.
func (d *disk) put(p []byte, off int64) {
	for len(p) > 0 {
		b, in := off/BlockBytes, off%BlockBytes
		if d.over[b] == nil {
			d.over[b] = append([]byte(nil), d.flat[b*BlockBytes:(b+1)*BlockBytes]...)
		}
		n := copy(d.over[b][in:], p)
		p, off = p[n:], off+int64(n)
	}
}

// ops returns the operations of the run, or of the recovery of the state shown.
func (d *disk) ops(recovery bool) []Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	from := d.run
	if recovery {
		from = d.recovery
	}
	ops := make([]Op, len(from))
	for i, e := range from {
		ops[i] = e.Op
	}
	return ops
}

// show makes the disk what s says of the run, which is closed by it.
func (d *disk) show(s State) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.check(d.run); err != nil {
		return err
	}
	if d.state == nil || s.Durable < d.rolled {
		d.flat, d.rolled = make([]byte, d.size), 0
	}
	for ; d.rolled < s.Durable; d.rolled++ {
		copy(d.flat[d.run[d.rolled].Off:], d.run[d.rolled].data)
	}
	d.state, d.recovery, d.again = &s, nil, false
	d.over = map[int64][]byte{}
	d.keep(d.run, s.Kept)
	return nil
}

// showAgain makes the disk what s says of the recovery of the state shown last.
func (d *disk) showAgain(s State) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state == nil {
		return fmt.Errorf("no state is shown")
	}
	if err := s.check(d.recovery); err != nil {
		return err
	}
	d.again = true
	d.over = map[int64][]byte{}
	d.keep(d.run, d.state.Kept)
	for _, e := range d.recovery[:s.Durable] {
		d.put(e.data, e.Off)
	}
	d.keep(d.recovery, s.Kept)
	return nil
}

func (d *disk) keep(log []entry, pieces []Piece) {
	for _, p := range pieces {
		e := log[p.Op]
		d.put(e.data[p.From:p.To], e.Off+int64(p.From))
	}
}
