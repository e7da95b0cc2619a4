package pagemeta

// A ManyReader is an Owner that reads many pages faster than one after the other.
type ManyReader interface {
	// ReadPages is ReadPage of each of ids, which ascend and are locked. It hands
	// each image to take, in order, with its index in ids, or why there is none.
	// take may change the image and must not keep it.
	ReadPages(ids []PageID, take func(i int, image *Page, err error))
}

// AskMany is Ask of each of ids, which ascend, for who will touch them all soon: those
// that are not in memory are read together. It is speed and nothing else: what it
// cannot load, and what somebody else has locked, it leaves to Ask.
func (t *Table) AskMany(ids []PageID, heat Heat) {
	reader, ok := t.Owner.(ManyReader)
	if !ok || t.TrapOnly || t.enter() != nil {
		return
	}
	defer t.leave()
	locked := make([]PageID, 0, len(ids))
	for _, id := range ids {
		if t.seize(id, Absent, heat) {
			locked = append(locked, id)
		}
	}
	t.makeRoomFor(int64(len(locked)))
	reader.ReadPages(locked, func(i int, image *Page, err error) {
		if err == nil {
			_ = t.bring(locked[i], image) // Ask will say what it is
		}
		t.unlock(locked[i])
	})
}

// seize locks page id without waiting, and adds heat, if the page is Absent and in the data
// file, or, where most is Clean, Absent or Clean.
func (t *Table) seize(id PageID, most State, heat Heat) bool {
	m := &t.metas[id].word
	w := Word(m.Load())
	return !w.locked() && w.State() <= most && (!w.fresh() || most == Clean) &&
		m.CompareAndSwap(uint64(w), uint64(w|lockBit|Word(heat)<<heatShift))
}

// Missing tells whether page id is neither in memory nor on its way there.
func (t *Table) Missing(id PageID) bool {
	w := t.load(id)
	return w.State() == Absent && !w.locked()
}

// Cool takes one from the heat of page id.
func (t *Table) Cool(id PageID) {
	m := &t.metas[id].word
	if w := Word(m.Load()); w.heat() > Cold {
		m.CompareAndSwap(uint64(w), uint64(w-heatOne)) // or somebody is busy with it
	}
}
