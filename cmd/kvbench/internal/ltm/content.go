package ltm

import (
	"bytes"
	"encoding/binary"

	"faultline/cmd/kvbench/internal/keys"
)

// A writeID names a write: 0 is the load, else
//
//	+------------+------------+-------------------+
//	| step 16    | client 16  | count 32          |   step from 1, count from 0
//	+------------+------------+-------------------+
type writeID uint64

const (
	maxClients = 1 << 10
	maxSteps   = 1<<16 - 1
	maxWrites  = 1<<32 - 1 // of one client in one step
)

func newWriteID(step, client int, count uint64) writeID {
	return writeID(uint64(step)<<48 | uint64(client)<<32 | count)
}

func (w writeID) split() (step, client int, count uint64) {
	return int(w >> 48), int(w >> 32 & 0xffff), uint64(w & 0xffffffff)
}

// A content makes values: eight bytes that name the write, little-endian, then a
// piece of a buffer that key and write decide. What a reader finds tells whether
// it was ever written, and to this key.
type content struct {
	buf        []byte
	valueBytes int
	step       uint64 // of places in the buffer where a piece may begin
}

const (
	idBytes      = 8
	bufferBytes  = 1 << 20
	pieceBytes   = 100 // of compressible content, as in db_bench
	repeatsAfter = pieceBytes / 2
)

// newContent returns the content of values of a length, at least idBytes.
// Compressible ones halve, others do not shrink.
func newContent(valueBytes int, compressible bool, seed uint64) content {
	c := content{valueBytes: valueBytes, step: 1, buf: make([]byte, 0, bufferBytes+valueBytes+pieceBytes)}
	random := keys.NewDraw(256, seed)
	if compressible {
		c.step = pieceBytes
	}
	for len(c.buf) < bufferBytes+valueBytes {
		if at := len(c.buf) % pieceBytes; compressible && at >= repeatsAfter {
			c.buf = append(c.buf, c.buf[len(c.buf)-repeatsAfter])
			continue
		}
		c.buf = append(c.buf, byte(random.Next()))
	}
	return c
}

// put writes the value of a write of key i to dst, which is as long as a value.
func (c *content) put(dst []byte, i uint64, w writeID) {
	binary.LittleEndian.PutUint64(dst, uint64(w))
	copy(dst[idBytes:], c.piece(i, w))
}

func (c *content) piece(i uint64, w writeID) []byte {
	place := keys.Mix(i^keys.Mix(uint64(w))) % (bufferBytes / c.step) * c.step
	return c.buf[place : place+uint64(c.valueBytes-idBytes)]
}

// parse returns the write that a value of key i names, and whether the value is
// what that write put.
func (c *content) parse(value []byte, i uint64) (w writeID, ok bool) {
	if len(value) != c.valueBytes {
		return 0, false
	}
	w = writeID(binary.LittleEndian.Uint64(value))
	return w, bytes.Equal(value[idBytes:], c.piece(i, w))
}
