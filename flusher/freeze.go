package flusher

import (
	"slices"
	"time"

	"faultline/pagemeta"
)

const (
	// aheadPages is how many pages are frozen ahead of a cut while the gate is closed
	// once: writers wait for less than a millisecond.
	aheadPages = 1024
	// aheadOpen is how long the gate is open after that, so that those who wait at it
	// get in, and out.
	aheadOpen = 500 * time.Microsecond
	// aheadPasses bounds how often pages are frozen again that were changed again.
	aheadPasses = 4
	// fewPages is how many may be left for the cut.
	fewPages = 2048
)

// freezeAhead freezes what is Dirty, some pages at a time, so that the cut finds only
// those that were changed again meanwhile.
func (f *Flusher) freezeAhead() error {
	left := f.Pages.Dirty()
	for pass := 0; pass < aheadPasses && left > fewPages; pass++ {
		left = 0
		for next, more := pagemeta.PageID(0), true; more; more = next > 0 {
			err := f.withGateClosed(func() error {
				n, after, err := f.Pages.FreezeAhead(next, aheadPages)
				left += n
				next = after
				return f.stopOn(err)
			})
			if err != nil {
				return err
			}
			time.Sleep(aheadOpen)
		}
	}
	return nil
}

// freeze makes the cut: no operation is half in it. It returns no pages if there
// is nothing to write.
func (f *Flusher) freeze() (cut []pagemeta.FrozenPage, at Cut, err error) {
	room := slices.Grow(f.frozen[:0], f.Pages.Dirty()+fewPages) // for pages of rounds, too
	err = f.withGateClosed(func() (err error) {
		if at, err = f.cut(); err != nil {
			return err
		}
		if cut, err = f.Pages.Freeze(room); err != nil {
			return f.stopOn(err)
		}
		f.frozen = cut
		return nil
	})
	return cut, at, err
}

// withGateClosed runs a part of a freeze.
func (f *Flusher) withGateClosed(part func() error) error {
	return f.Exclusive(func() error {
		began := time.Now()
		defer func() { f.metrics.frozen(time.Since(began)) }()
		if err := f.Err(); err != nil {
			return err // an operation may have been stopped half way
		}
		return part()
	})
}

// stopOn stops the Flusher if pages could not be frozen, before the gate opens: a store
// could trap for ever.
func (f *Flusher) stopOn(err error) error {
	if err != nil {
		return f.Stop(err)
	}
	return nil
}
