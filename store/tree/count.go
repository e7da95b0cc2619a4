package tree

import "sync/atomic"

// The first two bytes of a key say whose it is: the number of a slot, and a
// generation of that slot. The tree counts the keys of each slot that are of its
// current generation. All others are dead: nobody asks for them any more, and they
// are deleted in the background. So a slot with any number of keys is emptied by
// giving it another generation.
//
//	0      1            2
//	+------+------------+---- ... ----+
//	| slot | generation |   the rest  |
//	+------+------------+---- ... ----+
const (
	// MaxSlots is how many slots there are. The highest bit of a key's first byte is
	// not looked at.
	MaxSlots = 128
	// OwnerBytes is the length of slot and generation.
	OwnerBytes = 2
)

// A SlotState is the generation of a slot, and how many keys it has.
type SlotState struct {
	Gen      byte
	Keys     uint64
	Expiring uint64 // of Keys
}

// counts are of all slots.
type counts struct {
	slots [MaxSlots]slotCount
	dead  atomic.Int64
}

// A slotCount has a cache line of its own.
type slotCount struct {
	gen            atomic.Uint32 // changed with the gate closed
	keys, expiring atomic.Int64
	_              [40]byte
}

// owner returns the slot and the generation of key. Any key has one.
func owner(key []byte) (slot, gen byte) {
	switch len(key) {
	case 0:
		return 0, 0
	case 1:
		return key[0] % MaxSlots, 0
	}
	return key[0] % MaxSlots, key[1]
}

// A delta is by how many keys an owner has more.
type delta struct{ keys, expiring int }

func (d *delta) add(other delta) {
	d.keys += other.keys
	d.expiring += other.expiring
}

// added is the delta of a write that did f to a key: one with flags was put, and the
// key was to expire at was before, if at all.
func added(f fit, flags int, was uint64) (d delta) {
	if f == inserted {
		d.keys = 1
	}
	if flags&expiryBit != 0 {
		d.expiring++
	}
	if was != 0 {
		d.expiring--
	}
	return d
}

// removed is the delta of a key that was deleted.
func removed(was uint64) (d delta) {
	if d.keys = -1; was != 0 {
		d.expiring = -1
	}
	return d
}

// add notes that the owner of key has d more.
func (c *counts) add(key []byte, d delta) {
	slot, gen := owner(key)
	c.addTo(slot, gen, d)
}

func (c *counts) addTo(slot, gen byte, d delta) {
	s := &c.slots[slot]
	if s.gen.Load() != uint32(gen) {
		c.dead.Add(int64(d.keys))
		return
	}
	if d.keys != 0 {
		s.keys.Add(int64(d.keys))
	}
	if d.expiring != 0 {
		s.expiring.Add(int64(d.expiring))
	}
}

// all is the number of keys, dead ones among them.
func (c *counts) all() uint64 {
	n := c.dead.Load()
	for i := range c.slots {
		n += c.slots[i].keys.Load()
	}
	return uint64(n)
}

func (c *counts) set(s *State) {
	c.dead.Store(int64(s.Dead))
	for i, slot := range s.Slots {
		c.slots[i].gen.Store(uint32(slot.Gen))
		c.slots[i].keys.Store(int64(slot.Keys))
		c.slots[i].expiring.Store(int64(slot.Expiring))
	}
}

func (c *counts) state(s *State) {
	s.Dead = uint64(c.dead.Load())
	for i := range c.slots {
		s.Slots[i] = c.slots[i].state()
	}
}

func (s *slotCount) state() SlotState {
	return SlotState{byte(s.gen.Load()), uint64(s.keys.Load()), uint64(s.expiring.Load())}
}

// Slot returns what slot has. Its fields are not of one moment, unless the gate is
// closed.
func (t *Tree) Slot(slot byte) SlotState { return t.counts.slots[slot%MaxSlots].state() }

// Gen returns the generation of slot.
func (t *Tree) Gen(slot byte) byte { return byte(t.counts.slots[slot%MaxSlots].gen.Load()) }

// Dead returns the number of keys that are of no current generation.
func (t *Tree) Dead() uint64 { return uint64(t.counts.dead.Load()) }

// Renew gives slot another generation, under which there must be no key: the slot is
// empty then, and its keys are dead. The caller has closed the gate.
func (t *Tree) Renew(slot, gen byte) {
	s := &t.counts.slots[slot%MaxSlots]
	t.counts.dead.Add(s.keys.Swap(0))
	s.expiring.Store(0)
	s.gen.Store(uint32(gen))
}
