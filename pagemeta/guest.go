package pagemeta

import "faultline/internal/offheap"

// A guest is a page that is in memory to be read and is never changed there: who writes
// it writes the data file, beside the protocol, while nobody else wants the page, and
// then says so. Of the kernel and the clock hand it has what any Clean page has.
//
//	Absent --- Bring ---> Clean, a guest --- Evict ---> Absent
//	                         |      ^  |
//	                Refresh  +------+  +--- Mkwrite ---> Dirty, a page as others
//
// A reader takes no lock. A page that is loaded or changed as others are is no guest any
// more before, and one that is a guest again has another version. So what was read is whole
// if both are the same after. A guest that was evicted meanwhile traps.

// Guest returns the version of page id and true if it is a guest. What is then read of
// it, inside a boundary, may be believed if StillGuest says so afterwards.
func (t *Table) Guest(id PageID) (version uint64, ok bool) {
	if int(id) >= t.Pages {
		return 0, false
	}
	version = t.metas[id].latch.Load()
	w := t.load(id)
	if w.guest() && w.heat() < Warm {
		t.metas[id].word.Or(uint64(Warm) << heatShift) // this one is not read once
	}
	return version, w.guest()
}

// StillGuest tells whether what was read of page id since Guest returned version may be
// believed.
func (t *Table) StillGuest(id PageID, version uint64) bool {
	return t.Unchanged(id, version) && t.load(id).guest()
}

// Bring makes guests of pages that are not in memory, from page id on: as many, up to
// most, as follow each other and are not on their way there either. read is told how many
// these are, while nobody else can load them, and returns the images of the first of them
// from the data file, or of all, checked. Bring returns how many it has told read of,
// possibly none. What it cannot bring is no error: it is speed and nothing else.
func (t *Table) Bring(id PageID, most int, read func(pages int) []Page) (n int) {
	if t.TrapOnly || t.enter() != nil {
		return 0
	}
	defer t.leave()
	for most = min(most, t.Pages-int(id)); n < most && t.seize(id+PageID(n), Absent, Cold); n++ {
	}
	if n > 0 {
		t.makeRoomFor(int64(n))
		t.receive(id, read(n))
		t.release(id, n)
	}
	return n
}

// Refresh says that images, which are sealed, were written to the data file as the pages
// from id on: those that are in memory are other pages now, and as far as there is room
// all of them are guests.
func (t *Table) Refresh(id PageID, images []Page) {
	if t.TrapOnly || t.enter() != nil {
		return
	}
	defer t.leave()
	for len(images) > 0 {
		n := 0
		for n < len(images) && t.seize(id+PageID(n), Clean, Cold) {
			n++
		}
		if n > 0 {
			t.replace(id, images[:n])
			t.release(id, n)
		}
		n = min(n+1, len(images)) // who has the next one brings or evicts what was there
		id, images = id+PageID(n), images[n:]
	}
}

// release unlocks n pages from id on.
func (t *Table) release(id PageID, n int) {
	for i := range n {
		t.unlock(id + PageID(i))
	}
}

// replace puts images in the place of the locked pages from id on, which are Absent or
// Clean.
func (t *Table) replace(id PageID, images []Page) {
	there := 0
	for i := range images {
		p := id + PageID(i)
		w := t.load(p)
		if w.fresh() {
			t.metas[p].word.And(^uint64(freshBit))
		}
		if w.State() == Clean {
			there++
		}
	}
	if there > 0 && t.clear(id, len(images)) < there {
		return // mlockall: what was there stays, and is no guest
	}
	if t.Memory == 0 || t.free() >= int64(len(images)) {
		t.receive(id, images)
	}
}

// clear makes those of the n locked pages from id on Absent that are Clean, and returns how
// many are. Only then is the mutex of the clock wanted, which all who evict share.
func (t *Table) clear(id PageID, n int) (gone int) {
	c := &t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.victims = c.mu.victims[:0]
	for i := range n {
		if p := id + PageID(i); t.State(p) == Clean {
			c.mu.victims = append(c.mu.victims, p)
		}
	}
	return t.takeOut(c.mu.victims)
}

// receive makes the locked, Absent pages from id on guests, with images.
func (t *Table) receive(id PageID, images []Page) {
	if len(images) == 0 {
		return
	}
	for i := range images {
		t.metas[id+PageID(i)].latch.Add(2) // before any byte of the image is to be seen
		t.changes(id + PageID(i))
	}
	if err := t.arena.fd.Copy(t.arena.addr(id), BytesOf(images), true); err != nil {
		_ = offheap.Drop(t.arena.span(id, len(images))) // some may have come
		return
	}
	for i := range images {
		p := id + PageID(i)
		t.arrived(p)
		t.move(p, Load, 0)
		t.metas[p].word.Or(uint64(guestBit))
	}
	t.room.guests.Add(int64(len(images)))
	t.metrics.loads.Add(uint64(len(images)))
}
