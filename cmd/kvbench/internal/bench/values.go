package bench

import "faultline/cmd/kvbench/internal/keys"

// Values are made as in db_bench (RandomGenerator): slices of one buffer of
// pieces that a compressor halves.
const (
	valueBufferBytes = 1 << 20
	valuePieceBytes  = 100
	compressedBytes  = valuePieceBytes / 2 // random part of a piece, then repeated
)

// newValueBuffer returns the buffer that all clients of a run share. It is long
// enough for one value.
func newValueBuffer(valueBytes int, seed uint64) []byte {
	size := max(valueBufferBytes, valueBytes)
	buf := make([]byte, 0, size+valuePieceBytes)
	printable := keys.NewDraw('~'-' '+1, seed)
	for len(buf) < size {
		piece := len(buf)
		for range compressedBytes {
			buf = append(buf, ' '+byte(printable.Next()))
		}
		buf = append(buf, buf[piece:piece+valuePieceBytes-compressedBytes]...)
	}
	return buf[:size]
}

// A values hands out slices of the buffer, one after the other.
type values struct {
	buf   []byte
	bytes int
	at    int
}

func (v *values) next() []byte {
	if v.at+v.bytes > len(v.buf) {
		v.at = 0
	}
	value := v.buf[v.at : v.at+v.bytes : v.at+v.bytes]
	v.at += v.bytes
	return value
}
