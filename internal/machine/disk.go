package machine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
)

// SectorBytes is what a disk writes whole or not at all.
const SectorBytes = 512

// WholeBytes is how much of the beginning of a disk is written whole or not at
// all, whatever happens to other writes: there ext4 has its superblock, with a
// checksum and in two sectors, and does not start when only one of them is new.
const WholeBytes = 4096

// A Disk has a cache that forgets. A write goes to the cache; a flush takes to the
// medium what was acknowledged before it, and nothing else.
type Disk struct {
	mu     sync.Mutex
	medium []byte  // what a power cut leaves
	live   []byte  // what reads find
	cache  []write // in the order of arrival
	acked  int     // so many of the cache are acknowledged
	lies   bool
	outage outage
}

type write struct {
	at   int64
	data []byte
}

// An outage is the moment when a disk loses its power, and whether it has come.
type outage struct {
	planned  bool
	requests int // writes and flushes until then
	cached   int // or earlier: writes in the cache
	off      bool
	begun    chan struct{} // closed when off
}

// NewDisk returns a disk with this content, which becomes its own.
func NewDisk(image []byte) *Disk {
	return &Disk{medium: image, live: slices.Clone(image)}
}

// Lie makes the disk acknowledge flushes without making them, or stop that.
func (d *Disk) Lie(lies bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lies = lies
}

// LosePower plans the moment of an outage: when so many writes and flushes more
// have come, or earlier, when so many writes are in the cache. From then on, until
// [Disk.Cut], the disk does and answers nothing. The channel is closed then.
func (d *Disk) LosePower(requests, cached int) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outage = outage{planned: true, requests: requests, cached: cached, begun: make(chan struct{})}
	return d.outage.begun
}

// count counts a write or a flush, which may be the last. The lock is held.
func (d *Disk) count() {
	o := &d.outage
	o.requests--
	if o.planned && !o.off && (o.requests <= 0 || len(d.cache) >= o.cached) {
		o.off = true
		close(o.begun)
	}
}

// read copies what is there now. Like the methods below, it tells whether there is
// power to answer.
func (d *Disk) read(b []byte, at int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(b, d.live[at:])
	return !d.outage.off
}

// write takes the data, which is the disk's from then on.
func (d *Disk) write(data []byte, at int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.outage.off {
		return
	}
	copy(d.live[at:], data)
	d.cache = append(d.cache, write{at, data})
	d.count()
}

// acknowledge notes that the machine is going to know of all writes so far.
func (d *Disk) acknowledge() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acked = len(d.cache)
	return !d.outage.off
}

// flush takes the acknowledged writes to the medium. Those that are still on
// their way stay in the cache: who flushes cannot know of them.
func (d *Disk) flush() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count(); d.outage.off {
		return false
	}
	if d.lies {
		return true
	}
	for _, w := range d.cache[:d.acked] {
		copy(d.medium[w.at:], w.data)
	}
	d.cache = slices.Clone(d.cache[d.acked:])
	d.acked = 0
	return true
}

// A Way is how a power cut treats the cache.
type Way struct {
	name     string
	survives float64 // how likely a piece is to survive
	torn     bool    // the pieces are sectors, not writes
}

// Forget is the way in which nothing survives.
var Forget = Way{"nothing", 0, false}

var ways = []Way{
	Forget,
	{"everything", 1, false},
	{"some writes", 0.5, false},
	{"some sectors", 0.5, true},
	{"most sectors", 0.9, true},
}

// RandomWay returns one of all ways.
func RandomWay(rng *rand.Rand) Way { return ways[rng.IntN(len(ways))] }

// A Loss says what a power cut has done to the cache, in writes.
type Loss struct {
	Survives         string // the name of the way
	Kept, Lost, Torn int
}

// Cached is how many writes were in the cache.
func (l Loss) Cached() int { return l.Kept + l.Lost + l.Torn }

func (l Loss) String() string {
	return fmt.Sprintf("%s survives: of %d writes in the cache %d kept, %d lost, %d torn",
		l.Survives, l.Cached(), l.Kept, l.Lost, l.Torn)
}

// Cut cuts the power: what of the cache survives is chosen at random, in the way
// that is given. The machine must have ended. After it there is power again.
func (d *Disk) Cut(way Way, rng *rand.Rand) Loss {
	d.mu.Lock()
	defer d.mu.Unlock()
	loss := Loss{Survives: way.name}
	for _, w := range d.cache {
		loss.add(d.spill(w, way, rng), len(w.data))
	}
	d.cache, d.acked, d.outage = nil, 0, outage{}
	copy(d.live, d.medium)
	return loss
}

// spill takes to the medium what survives of a write, and returns its size.
func (d *Disk) spill(w write, way Way, rng *rand.Rand) (survived int) {
	piece := len(w.data)
	if way.torn && w.at >= WholeBytes {
		piece = SectorBytes
	}
	at := w.at
	for data := range slices.Chunk(w.data, piece) {
		if rng.Float64() < way.survives {
			survived += copy(d.medium[at:], data)
		}
		at += int64(len(data))
	}
	return survived
}

// add counts a write of which some bytes have survived.
func (l *Loss) add(survived, bytes int) {
	switch survived {
	case 0:
		l.Lost++
	case bytes:
		l.Kept++
	default:
		l.Torn++
	}
}
