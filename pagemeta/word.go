package pagemeta

import "fmt"

// A Word is the whole state of one page: a reader sees it with one load, and
// only who holds the page's lock changes more than the two lock bits.
//
//	63               32 31 10   9       8     7  6    5      4      3    2     0
//	+------------------+-----+-------+------+------+-------+------+------+-------+
//	|       head       |  0  | guest | mark | heat | fresh | wait | lock | state |
//	+------------------+-----+-------+------+------+-------+------+------+-------+
//
//	head   the owner's handle, from its Mkwrite; 0 while there is none
//	guest  the page is Clean and nobody changes it in memory: see guest.go
//	mark   says what who has the latch wants it to: see Mark
//	heat   how often the clock hand passes the page by before it is evicted
//	fresh  what the data file has of the page is of no use: a load gives zeros
//	wait   a goroutine is parked on the lock; who unlocks wakes it
//	lock   one goroutine holds the page
//	state  where the newest bytes are, see State
type Word uint64

const (
	stateMask Word = 1<<3 - 1
	lockBit   Word = 1 << 3
	waitBit   Word = 1 << 4
	freshBit  Word = 1 << 5
	heatShift      = 6
	heatOne   Word = 1 << heatShift
	heatMask  Word = 3 << heatShift
	markBit   Word = 1 << 8
	guestBit  Word = 1 << 9
	headShift      = 32
)

// State is where the newest bytes of the page are.
func (w Word) State() State { return State(w & stateMask) }

func (w Word) head() uint32 { return uint32(w >> headShift) }
func (w Word) fresh() bool  { return w&freshBit != 0 }
func (w Word) guest() bool  { return w&guestBit != 0 }
func (w Word) locked() bool { return w&lockBit != 0 }

// with returns w in state s with the owner's handle head; lock bits, heat and mark
// stay, and a page is fresh until it is Dirty: before, it may be evicted and loaded
// again. A guest is none any more.
func (w Word) with(s State, head uint32) Word {
	keep := lockBit | waitBit | heatMask | markBit
	if s != Dirty {
		keep |= freshBit
	}
	return w&keep | Word(s) | Word(head)<<headShift
}

// A State says where the newest bytes of a page are, and so whether a store to
// it traps.
//
//	        Load            Mkwrite
//	Absent ------> Clean ------------> Dirty <-----------+
//	   ^           |  ^                  |               |
//	   +-----------+  | Written          | Freeze        | Mkwrite captures
//	       Evict      |                  v               | the old image first
//	               Flight <----------- Frozen -----------+
//	                  |     Capture                      |
//	                  +----------------------------------+
//
// Load comes from whoever touches the page or asks for it; Mkwrite from a trap
// or from Prepare; Freeze, Capture and Written from the flusher; Evict from the
// clock hand. Only a Dirty page is writable. Written on a page that is Dirty again leaves it Dirty: what
// was written is the older image.
type State uint8

const (
	Absent State = iota // in the data file only; a touch traps
	Clean               // in memory, the same bytes as in the data file
	Dirty               // in memory, newer than the data file; has a head
	Frozen              // in memory; part of the cut of the running round, or of the next
	Flight              // in memory; its image is captured and on its way to disk
	numStates
)

func (s State) String() string {
	switch s {
	case Absent:
		return "absent"
	case Clean:
		return "clean"
	case Dirty:
		return "dirty"
	case Frozen:
		return "frozen"
	case Flight:
		return "flight"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// An Event moves a page from one State to another.
type Event uint8

const (
	Load Event = iota
	Mkwrite
	Freeze
	Capture
	Written
	Evict
	numEvents
)

func (e Event) String() string {
	switch e {
	case Load:
		return "load"
	case Mkwrite:
		return "mkwrite"
	case Freeze:
		return "freeze"
	case Capture:
		return "capture"
	case Written:
		return "written"
	case Evict:
		return "evict"
	}
	return fmt.Sprintf("event %d", uint8(e))
}

// next returns the state after e; ok is false where e must not happen.
func (s State) next(e Event) (to State, ok bool) {
	switch e {
	case Load:
		return Clean, s == Absent
	case Mkwrite:
		return Dirty, s != Dirty // from Absent only as a fresh page
	case Freeze:
		return Frozen, s == Dirty
	case Capture:
		return Flight, s == Frozen
	case Written:
		if s == Dirty {
			return Dirty, true
		}
		return Clean, s == Flight
	case Evict:
		return Absent, s == Clean
	}
	panic(fmt.Sprintf("pagemeta: unknown event %d", e))
}
