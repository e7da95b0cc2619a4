package blockrec

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// A plainDisk is what a disk should be: every state is made from nothing, one
// byte after the other.
func plainDisk(size int, logs [][]entry, states []State) []byte {
	b := make([]byte, size)
	for i, s := range states {
		for _, e := range logs[i][:s.Durable] {
			copy(b[e.Off:], e.data)
		}
		for _, p := range s.Kept {
			for at := p.From; at < p.To; at++ {
				b[int(logs[i][p.Op].Off)+at] = logs[i][p.Op].data[at]
			}
		}
	}
	return b
}

const testDiskBytes = 16 * BlockBytes

// scribble makes n operations, writes of one to three blocks most of them.
func scribble(d *disk, n int, rng *rand.Rand) error {
	for range n {
		switch rng.IntN(5) {
		case 0:
			d.flush()
		case 1:
			d.mark("here")
		default:
			p := bytes.Repeat([]byte{byte(rng.IntN(256))}, BlockBytes*(1+rng.IntN(3)))
			if err := d.writeAt(p, BlockBytes*rng.Int64N(14)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *disk) contents() []byte {
	p := make([]byte, d.size+1)
	return p[:d.readAt(p, 0)]
}

// TestStates shows random states of random logs, forwards and backwards, writes to
// each, and shows a state of that. The disk must read as plainDisk says.
func TestStates(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		d := newDisk(testDiskBytes)
		if err := scribble(d, 60, rng); err != nil {
			t.Fatal(err)
		}
		if want := plainDisk(testDiskBytes, [][]entry{d.run}, []State{{Durable: len(d.run)}}); !bytes.Equal(d.contents(), want) {
			t.Fatalf("seed %d: wrong bytes while it is recorded", seed)
		}
		random := func(log []Op) State {
			sectors := func(block int64) bool { return block%2 == 0 }
			return Cut(log, rng.IntN(len(log)+1), Loss(rng.IntN(int(NumLoss))), sectors, rng)
		}
		for i := range 50 {
			first := random(d.ops(false))
			if err := d.show(first); err != nil {
				t.Fatal(err)
			}
			if want := plainDisk(testDiskBytes, [][]entry{d.run}, []State{first}); !bytes.Equal(d.contents(), want) {
				t.Fatalf("seed %d, state %d: wrong bytes of %+v", seed, i, first)
			}
			if err := scribble(d, 10, rng); err != nil {
				t.Fatal(err)
			}
			recovery := slices.Clone(d.recovery)
			second := random(d.ops(true))
			if err := d.showAgain(second); err != nil {
				t.Fatal(err)
			}
			want := plainDisk(testDiskBytes, [][]entry{d.run, recovery}, []State{first, second})
			if !bytes.Equal(d.contents(), want) {
				t.Fatalf("seed %d, state %d: wrong bytes of %+v, then %+v", seed, i, first, second)
			}
			if err := scribble(d, 5, rng); err != nil {
				t.Fatal(err)
			}
			if len(d.recovery) != len(recovery) || len(d.run) != 60 {
				t.Fatalf("seed %d, state %d: a log has grown that was closed", seed, i)
			}
		}
	}
}

// TestCut cuts a log with a flush in it at every place, with every loss: what is
// before the flush is there, what is not yet done is not, and of what is between
// there is none, all, whole writes, or whole blocks and sectors.
func TestCut(t *testing.T) {
	write := func(block, blocks int) Op {
		return Op{Kind: Write, Off: int64(block) * BlockBytes, Len: blocks * BlockBytes}
	}
	log := []Op{write(0, 1), write(1, 2), {Kind: Flush}, write(3, 1), {Kind: Mark}, write(4, 2)}
	durable := []int{0, 0, 0, 3, 3, 3, 3}
	pending := [][]Piece{
		nil,
		{{0, 0, BlockBytes}},
		{{0, 0, BlockBytes}, {1, 0, 2 * BlockBytes}},
		nil,
		{{3, 0, BlockBytes}},
		{{3, 0, BlockBytes}},
		{{3, 0, BlockBytes}, {5, 0, 2 * BlockBytes}},
	}
	const torn = 5 // the only block that is torn into sectors
	var seen struct{ less, whole, sector bool }
	for n := range len(log) + 1 {
		for loss := range NumLoss {
			for seed := range uint64(50) {
				s := Cut(log, n, loss, func(block int64) bool { return block == torn }, rand.New(rand.NewPCG(seed, 0)))
				if s.Durable != durable[n] {
					t.Fatalf("%d operations, %v: %d durable, want %d", n, loss, s.Durable, durable[n])
				}
				switch {
				case loss == Drop && s.Kept != nil, loss == Prefix && !slices.Equal(s.Kept, pending[n]):
					t.Fatalf("%d operations, %v: kept %v", n, loss, s.Kept)
				}
				for _, p := range s.Kept {
					i := slices.IndexFunc(pending[n], func(q Piece) bool { return q.Op == p.Op })
					if i < 0 || p.To > pending[n][i].To || p.From >= p.To {
						t.Fatalf("%d operations, %v: kept %v of %v", n, loss, p, pending[n])
					}
					whole := p == pending[n][i]
					if loss == Subset && !whole {
						t.Fatalf("%d operations, subset: kept %v", n, p)
					}
					for _, at := range []int{p.From, p.To} {
						inTorn := log[p.Op].Off+int64(at) > torn*BlockBytes
						if at%SectorBytes != 0 || at%BlockBytes != 0 && !inTorn {
							t.Fatalf("%d operations, %v: torn at byte %d of operation %d", n, loss, at, p.Op)
						}
						seen.sector = seen.sector || at%BlockBytes != 0
					}
					seen.whole = seen.whole || loss == Subset && whole
				}
				seen.less = seen.less || loss == Subset && len(s.Kept) < len(pending[n])
			}
		}
	}
	if !seen.less || !seen.whole || !seen.sector {
		t.Errorf("never seen: %+v", seen)
	}
}

// TestCheck has states that are none of their log.
func TestCheck(t *testing.T) {
	log := []entry{{Op{Kind: Flush}, nil}, {Op{Kind: Write, Len: BlockBytes}, make([]byte, BlockBytes)}}
	for _, s := range []State{
		{Durable: -1},
		{Durable: 3},
		{Durable: 2, Kept: []Piece{{1, 0, 1}}},
		{Durable: 0, Kept: []Piece{{2, 0, 1}}},
		{Durable: 0, Kept: []Piece{{1, -1, 1}}},
		{Durable: 0, Kept: []Piece{{1, 1, 0}}},
		{Durable: 0, Kept: []Piece{{1, 0, BlockBytes + 1}}},
	} {
		if err := s.check(log); err == nil {
			t.Errorf("%+v is a state", s)
		}
	}
	if err := (State{1, []Piece{{1, 0, BlockBytes}}}).check(log); err != nil {
		t.Error(err)
	}
}
