package tree

import "faultline/pagemeta"

// InUse tells, for each page from number from on that used has room for, whether
// it is in use now. It reads bitmap pages, one for every 32640 pages, and fails
// where one cannot be read.
func (t *Tree) InUse(from pagemeta.PageID, used []bool) error {
	t.mu.Lock() // bitmaps stand still
	defer t.mu.Unlock()
	for {
		next, trap := t.tryInUse(from, used)
		if next == done {
			return nil
		}
		if err := t.again(next, &trap, pagemeta.ToRead, t.moves.Load()); err != nil {
			return err
		}
	}
}

func (t *Tree) tryInUse(from pagemeta.PageID, used []bool) (next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	for i := range used {
		id := from + pagemeta.PageID(i)
		if used[i] = int(id) < t.mu.space.pages; !used[i] {
			continue
		}
		b := bitmapOf(id)
		if err := t.pages.Ask(b, pagemeta.Warm); err != nil {
			return step{kind: failed, err: err}, trap
		}
		p := t.pages.Page(b)
		if p.Kind() != KindBitmap {
			return step{kind: damaged, page: b}, trap
		}
		at, mask := bit(p, id)
		used[i] = *at&mask != 0
	}
	return done, trap
}
