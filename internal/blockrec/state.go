package blockrec

import (
	"fmt"
	"math/rand/v2"
)

// A State is what a power cut leaves of a log.
type State struct {
	Durable int     // operations of the log that are there whole
	Kept    []Piece // of the writes behind them, in order
}

// A Piece is a part of a write that has reached the disk.
type Piece struct {
	Op       int // index in the log
	From, To int // bytes of that write
}

// check tells whether s is a state of log.
func (s State) check(log []entry) error {
	if s.Durable < 0 || s.Durable > len(log) {
		return fmt.Errorf("%d operations durable, the log has %d", s.Durable, len(log))
	}
	for _, p := range s.Kept {
		if p.Op < s.Durable || p.Op >= len(log) || p.From < 0 || p.From > p.To || p.To > len(log[p.Op].data) {
			return fmt.Errorf("piece %v of a log of %d operations", p, len(log))
		}
	}
	return nil
}

// A Loss says what a power cut does to the writes since the last flush.
type Loss int

const (
	Drop   Loss = iota // none is there
	Prefix             // all are there
	Subset             // each is there or not
	Torn               // each block is there or not, or each sector of it
	NumLoss
)

func (l Loss) String() string { return [...]string{"drop", "prefix", "subset", "torn"}[l] }

// Cut returns what a power cut after the first n operations of log leaves, with
// the loss that is given. How much is lost, and what, is rng's choice. Sectors
// tells of a block, by its number on the disk, whether it is torn into sectors.
func Cut(log []Op, n int, loss Loss, sectors func(block int64) bool, rng *rand.Rand) State {
	s := State{}
	for i, op := range log[:n] {
		if op.Kind == Flush {
			s.Durable = i + 1
		}
	}
	part := rng.Float64()
	for i, op := range log[s.Durable:n] {
		i += s.Durable
		switch {
		case op.Kind != Write || loss == Drop:
		case loss == Prefix || loss == Subset && rng.Float64() < part:
			s.keep(i, 0, op.Len)
		case loss == Torn:
			s.tear(i, op, part, sectors, rng)
		}
	}
	return s
}

// tear keeps about a part of the blocks of a write; of those that sectors tells,
// a part of their sectors.
func (s *State) tear(i int, op Op, part float64, sectors func(block int64) bool, rng *rand.Rand) {
	for at := 0; at < op.Len; {
		unit := BlockBytes
		if sectors((op.Off + int64(at)) / BlockBytes) {
			unit = SectorBytes
		}
		end := min(at+unit-int(op.Off+int64(at))%unit, op.Len)
		if rng.Float64() < part {
			s.keep(i, at, end)
		}
		at = end
	}
}

// keep adds a piece, to the one before it if it follows.
func (s *State) keep(op, from, to int) {
	if last := len(s.Kept) - 1; last >= 0 && s.Kept[last].Op == op && s.Kept[last].To == from {
		s.Kept[last].To = to
		return
	}
	s.Kept = append(s.Kept, Piece{op, from, to})
}
