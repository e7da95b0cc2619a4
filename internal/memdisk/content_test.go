package memdisk

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestContent makes random writes, lengths and copies of contents, some of them with
// their memory lent, and compares each with a slice of bytes that is copied as a
// whole: a copy must never see what is written to another.
func TestContent(t *testing.T) {
	type pair struct {
		c    content
		want []byte
	}
	rng := rand.New(rand.NewPCG(1, 2))
	pairs := []*pair{{}}
	for range 20000 {
		p := pairs[rng.IntN(len(pairs))]
		switch rng.IntN(10) {
		case 0:
			n := rng.IntN(4 * blockBytes)
			p.c.resize(int64(n))
			p.want = append(p.want, make([]byte, max(0, n-len(p.want)))...)[:n:n]
		case 1:
			other := &pair{p.c.clone(), bytes.Clone(p.want)}
			if len(pairs) < 6 {
				pairs = append(pairs, other)
			} else {
				*pairs[rng.IntN(len(pairs))] = *other
			}
		case 2:
			if mem := p.c.whole(); len(mem) > 0 {
				at := rng.IntN(len(mem))
				mem[at], p.want[at] = 'm', 'm'
			}
		default:
			b := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(2*blockBytes))
			at := rng.IntN(3 * blockBytes)
			p.c.write(int64(at), b)
			p.want = append(p.want, make([]byte, max(0, at+len(b)-len(p.want)))...)
			copy(p.want[at:], b)
		}
		p = pairs[rng.IntN(len(pairs))]
		got := bytes.Repeat([]byte{'?'}, len(p.want)+10)
		if n, err := p.c.read(got, 0); n != len(p.want) || err == nil || !bytes.Equal(got[:n], p.want) {
			t.Fatalf("read %d bytes, %v, want %d, or they differ", n, err, len(p.want))
		}
	}
}
