package memdisk

import (
	"hash/maphash"
	"io"
	"slices"
)

// blockBytes is what the kernel writes of a mapping as a whole.
const blockBytes = 4096

// A block is shared between contents until one of them writes to it.
type block [blockBytes]byte

// A content is what a file holds. A copy costs nothing but the table of blocks.
type content struct {
	blocks []*block // as far as the file was ever written to; nil is zeros
	own    []bool   // of each block, whether nobody else has it; nil: none
	size   int64    // what blocks have behind it is zeros
	lent   []byte   // the memory of all blocks, if it is changed without a call
}

// clone returns a copy.
func (c *content) clone() content {
	copied := content{blocks: slices.Clone(c.blocks), size: c.size}
	if c.lent != nil {
		for i, b := range copied.blocks {
			mine := *b
			copied.blocks[i] = &mine
		}
		return copied
	}
	if c.own != nil { // a copy has none: several goroutines may copy it
		c.own = nil
	}
	return copied
}

// block returns block i to be written to.
func (c *content) block(i int) *block {
	if c.lent != nil {
		return c.blocks[i]
	}
	for len(c.blocks) <= i {
		c.blocks = append(c.blocks, nil)
	}
	for len(c.own) < len(c.blocks) {
		c.own = append(c.own, false)
	}
	if !c.own[i] {
		var mine block
		if c.blocks[i] != nil {
			mine = *c.blocks[i]
		}
		c.blocks[i], c.own[i] = &mine, true
	}
	return c.blocks[i]
}

// resize sets the length. Who has the bytes of whole changes them no more.
func (c *content) resize(size int64) {
	if c.lent != nil {
		*c = c.clone()
	}
	if n := int((size + blockBytes - 1) / blockBytes); n < len(c.blocks) {
		c.blocks = c.blocks[:n]
		c.own = c.own[:min(n, len(c.own))]
	}
	if i, at := int(size/blockBytes), size%blockBytes; size < c.size && i < len(c.blocks) && c.blocks[i] != nil {
		clear(c.block(i)[at:])
	}
	c.size = size
}

func (c *content) write(off int64, p []byte) {
	if end := off + int64(len(p)); end > c.size {
		c.resize(end)
	}
	for len(p) > 0 {
		n := copy(c.block(int(off / blockBytes))[off%blockBytes:], p)
		off, p = off+int64(n), p[n:]
	}
}

func (c *content) read(p []byte, off int64) (n int, err error) {
	want := len(p)
	p = p[:max(0, min(int64(want), c.size-off))]
	for n < len(p) {
		i, at := int((off+int64(n))/blockBytes), (off+int64(n))%blockBytes
		part := p[n:min(len(p), n+blockBytes-int(at))]
		if i < len(c.blocks) && c.blocks[i] != nil {
			copy(part, c.blocks[i][at:])
		} else {
			clear(part)
		}
		n += len(part)
	}
	if n < want {
		return n, io.EOF
	}
	return n, nil
}

// whole returns all bytes in one piece, to be changed in place.
func (c *content) whole() []byte {
	if c.lent == nil {
		n := int((c.size + blockBytes - 1) / blockBytes)
		all, blocks := make([]byte, n*blockBytes), make([]*block, n)
		for i := range blocks {
			blocks[i] = (*block)(all[i*blockBytes:])
			if i < len(c.blocks) && c.blocks[i] != nil {
				*blocks[i] = *c.blocks[i]
			}
		}
		c.blocks, c.own, c.lent = blocks, nil, all
	}
	return c.lent[:c.size:c.size]
}

// hash adds the length and the bytes to h.
func (c *content) hash(h *maphash.Hash) {
	maphash.WriteComparable(h, c.size)
	for i, b := range c.blocks {
		if b != nil {
			maphash.WriteComparable(h, i)
			h.Write(b[:])
		}
	}
}
