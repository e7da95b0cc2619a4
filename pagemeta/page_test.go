package pagemeta

import (
	"math/rand/v2"
	"testing"
)

// TestCheck seals a page of random bytes and flips each of its bits in turn:
// every one must be refused, wherever it is. So must be the right bytes in the
// place of another page, and a page of zeros.
func TestCheck(t *testing.T) {
	const id, round = 0x01020304, 77
	p := new(Page)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	p.SetKind(3)
	p.Seal(id, round)
	if err := p.Check(id); err != nil || p.Kind() != 3 || p.Round() != round {
		t.Fatalf("sealed page: %v, kind %d, round %d", err, p.Kind(), p.Round())
	}
	for bit := range PageBytes * 8 {
		p[bit/8] ^= 1 << (bit % 8)
		if p.Check(id) == nil {
			t.Fatalf("bit %d of byte %d is flipped, and Check is content", bit%8, bit/8)
		}
		p[bit/8] ^= 1 << (bit % 8)
	}
	for _, other := range []PageID{0, id - 1, id + 1, id ^ 1<<31} {
		if p.Check(other) == nil {
			t.Errorf("page %d passes for page %d", id, other)
		}
	}
	if err := p.Check(id); err != nil { // the control: it is the flips that were refused
		t.Fatal(err)
	}
	if new(Page).Check(0) == nil {
		t.Error("zeros pass for page 0")
	}
}

// TestTouch checks that Touch changes no byte that anybody reads.
func TestTouch(t *testing.T) {
	p := new(Page)
	p.SetKind(1)
	p.Seal(5, 1)
	before := *p
	p.Touch()
	if *p != before {
		t.Error("touch changed the page")
	}
}
