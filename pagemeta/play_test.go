//go:build steps

package pagemeta

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"faultline/uffd"
)

// A play is a stage with one page on it, its owner, a gate, writers and a
// flusher. What they do is what tree.Put and flusher.flush do with a page.
type play struct {
	*stage
	table *Table
	pm    *uffd.Pagemap
	owner *ledger

	gateless bool // the flusher does not close the gate
	ahead    bool // the flusher freezes ahead of each cut
	effects  bool // check only what happens to the data
	shut     bool
	inside   int

	round int     // of the flusher
	part  string  // of the freeze
	turn  int     // of the evictor
	model content // what memory must be
	cut   content // what the model was at the last freeze
	heads []uint32
}

// page is the page of every play.
const page PageID = 3

// content is the part of the page that changes: two bytes for each of two writers.
type content [4]byte

func contentOf(p *Page) content { return content(p[HeaderBytes:]) }

// A ledger is the Owner of a play's page. Like the flusher's, it has one place for
// the image of the running round, to which mkwrite and Capture both write.
type ledger struct {
	disk, slot Page
	last       uint32
	live       []uint32 // heads that are attached, in order
	forgetful  bool     // Mkwrite does not capture
}

func (l *ledger) Stop(cause error) error { return cause }

func (l *ledger) ReadPage(_ PageID, image *Page) error {
	*image = l.disk
	return nil
}

func (l *ledger) Mkwrite(_ PageID, _ uint32, frozen *Page) (uint32, error) {
	if frozen != nil && !l.forgetful {
		l.slot = *frozen
	}
	l.last++
	l.live = append(l.live, l.last)
	return l.last, nil
}

func (l *ledger) Forget(head uint32) { _ = l.release(head) }

func (l *ledger) release(head uint32) error {
	i := slices.Index(l.live, head)
	if i < 0 {
		return fmt.Errorf("head %d is released, and was not in use", head)
	}
	l.live = slices.Delete(l.live, i, i+1)
	return nil
}

// newPlay returns a play whose page is in state s. On disk it is 1 1 0 0; a page
// that has been Dirty has 2 2 0 0.
func newPlay(t testing.TB, pm *uffd.Pagemap, s State) *play {
	p := &play{stage: newStage(), pm: pm, owner: &ledger{}}
	copy(p.owner.disk[HeaderBytes:], []byte{1, 1})
	p.model = contentOf(&p.owner.disk)
	table, err := New(Config{Pages: 8, Owner: p.owner})
	if err != nil {
		t.Fatal(err)
	}
	p.table = table
	p.look = func() string { return fmt.Sprint(table.load(page)&^waitBit, p.owner.last, table.cut.Load(), ";") }
	reach(t, table, page, min(s, Dirty)) // no further: the flusher's part is here
	if s >= Dirty {
		p.model = content{2, 2}
		copy(table.Page(page)[HeaderBytes:], p.model[:])
	}
	if s >= Frozen {
		if err := p.freeze(); err != nil {
			t.Fatal(err)
		}
	}
	if s == Flight {
		table.Capture(page, &p.owner.slot)
	}
	return p
}

// end leaves the play, wherever it is.
func (p *play) end(t testing.TB) {
	p.leave()
	if err := p.table.Close(); err != nil {
		t.Error(err)
	}
}

// writer is one operation: it stores value to bytes at and at+1 of the content.
// It takes the way of Prepare, or that of the trap.
func (p *play) writer(at int, value byte, prepare bool) func(*actor) error {
	return func(a *actor) error {
		a.hold("enter", func() bool { return !p.shut })
		p.inside++
		if prepare {
			if err := p.table.Prepare(page); err != nil {
				return err
			}
		}
		_, err := operate(p.table, ToWrite, func(tr *Trap) {
			a.hold("touch", nil)
			p.table.Page(page).Touch()
			tr.Commit()
			for i := range 2 {
				a.hold("store", nil)
				p.table.Page(page)[HeaderBytes+at+i] = value
				p.model[at+i] = value
			}
		})
		a.hold("leave", nil)
		p.inside--
		return err
	}
}

// reader looks at the page once, without the gate.
func (p *play) reader(a *actor) error {
	var got content
	_, err := operate(p.table, ToRead, func(*Trap) {
		a.hold("read", nil)
		got = contentOf(p.table.Page(page))
	})
	if err == nil && got != p.model {
		err = fmt.Errorf("stale read: %v, want %v", got, p.model)
	}
	return err
}

// evictor evicts the page as often, if it is Clean when its turn comes.
func (p *play) evictor(times int) func(*actor) error {
	return func(a *actor) error {
		for p.turn = range times {
			a.hold("choose", nil)
			p.evict()
		}
		return nil
	}
}

func (p *play) evict() {
	c := &p.table.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	ended := false
	defer func() {
		if !ended { // others may wait for the page
			for _, id := range c.mu.victims {
				p.table.unlock(id)
			}
		}
	}()
	p.table.evict(1)
	ended = true
}

// flusher makes rounds, like flusher.flush.
func (p *play) flusher(rounds int) func(*actor) error {
	return func(a *actor) error {
		for p.round = range rounds {
			if p.ahead {
				if err := p.closed(a, "close ahead", "freeze ahead", p.freezeAhead); err != nil {
					return err
				}
			}
			if err := p.closed(a, "close", "freeze", p.freeze); err != nil {
				return err
			}
			if err := p.rest(a); err != nil {
				return err
			}
		}
		return nil
	}
}

// closed runs a part of a freeze with the gate closed.
func (p *play) closed(a *actor, closing, name string, part func() error) error {
	if !p.gateless {
		a.hold(closing, nil)
		p.shut = true
	}
	a.hold(name, func() bool { return p.gateless || p.inside == 0 })
	p.part = name
	err := part()
	p.shut = false
	return err
}

// freezeAhead is a part of a freeze before the cut.
func (p *play) freezeAhead() error {
	p.cut = p.model
	_, _, err := p.table.FreezeAhead(0, 1)
	return err
}

// rest is the rest of a round whose freeze was made before.
func (p *play) rest(a *actor) error {
	return p.writeBack(func(step string) { a.hold(step, nil) })
}

// freeze is the part of a round with the gate closed.
func (p *play) freeze() error {
	p.cut, p.heads = p.model, nil
	cut, err := p.table.Freeze(nil)
	for _, f := range cut {
		p.heads = append(p.heads, f.Head)
	}
	return err
}

// writeBack is the part of a round after it; before is called before each step.
func (p *play) writeBack(before func(step string)) error {
	for _, head := range p.heads {
		before("capture")
		p.table.Capture(page, &p.owner.slot) // or mkwrite has
		before("write")
		if got := contentOf(&p.owner.slot); got != p.cut {
			return fmt.Errorf("torn cut: the image is %v, and the page was %v at the freeze", got, p.cut)
		}
		p.owner.disk = p.owner.slot
		p.table.Written(page)
		if err := p.owner.release(head); err != nil {
			return err
		}
	}
	p.heads = nil
	return nil
}

// memory returns the content of the page, and false if it is not in memory.
func (p *play) memory() (c content, ok bool) {
	trap := attempt(p.table, func(*Trap) { c = contentOf(p.table.Page(page)) })
	return c, !trap.Hit()
}

// writable asks the kernel whether a store to the page would trap.
func (p *play) writable() (bool, error) {
	runs, err := p.pm.Writable(p.table.arena.addr(page), PageBytes, nil)
	return len(runs) > 0, err
}

// check compares the play with the invariants of the package; nobody runs.
func (p *play) check() error {
	for _, a := range p.actors {
		if a.ended && a.err != nil {
			return a.err
		}
	}
	w := p.table.load(page)
	state := w.State()
	writable, err := p.writable()
	if err != nil {
		return err
	}
	memory, resident := p.memory()
	disk := contentOf(&p.owner.disk)
	switch {
	case resident == (state == Absent) && !w.locked():
		return fmt.Errorf("the page is %v, resident %t", state, resident)
	case resident && memory != p.model:
		return fmt.Errorf("memory is %v, want %v", memory, p.model)
	case w.locked() || p.effects: // the rest is true of a page that nobody works on
	case writable && state != Dirty:
		return fmt.Errorf("writable is not dirty: the page is %v", state)
	case state == Clean && memory != disk:
		return fmt.Errorf("lost update: the page is clean, memory %v, data file %v", memory, disk)
	case (state == Frozen || state == Flight) && memory != p.cut:
		return fmt.Errorf("stored to unseen: the page is %v, memory %v, at the freeze %v", state, memory, p.cut)
	case state == Dirty && !slices.Contains(p.owner.live, w.head()):
		return fmt.Errorf("the page is dirty, and its head %d is not in use", w.head())
	}
	return nil
}

// checkEnd makes a last round, and compares what must then be the same.
func (p *play) checkEnd() error {
	for _, a := range p.actors {
		if !a.ended {
			return fmt.Errorf("deadlock: %v", a)
		}
	}
	if err := p.freeze(); err != nil {
		return err
	}
	if err := p.writeBack(func(string) {}); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	if disk := contentOf(&p.owner.disk); disk != p.model {
		return fmt.Errorf("lost update: the data file is %v, want %v", disk, p.model)
	}
	if len(p.owner.live) > 0 && !p.effects {
		return fmt.Errorf("heads %v have leaked", p.owner.live)
	}
	if p.mutant != nil {
		return nil // it is about something else
	}
	_, resident := p.memory()
	if n, kept := p.table.room.resident.Load(), p.table.room.kept.Load(); n == 1 != resident || kept != 0 {
		return fmt.Errorf("%d pages counted in memory, %d that may not leave; resident %t", n, kept, resident)
	}
	return nil
}

// String is what can be seen of the play.
func (p *play) String() string {
	var b strings.Builder
	for _, a := range p.actors {
		fmt.Fprintln(&b, a)
	}
	w := p.table.load(page)
	writable, err := p.writable()
	locked := map[bool]string{true: ", locked"}[w.locked()]
	table := map[bool]string{true: "writable", false: "protected"}[writable]
	memory := "none"
	if c, ok := p.memory(); ok {
		memory = fmt.Sprint(c)
	} else {
		table = "missing"
	}
	fmt.Fprintf(&b, "page: %v%s, %s, head %d; heads in use %v\n", w.State(), locked, table, w.head(), p.owner.live)
	fmt.Fprintf(&b, "memory %s, image %v, data file %v\n", memory, contentOf(&p.owner.slot), contentOf(&p.owner.disk))
	if err = errors.Join(err, p.check()); err != nil {
		fmt.Fprintf(&b, "BROKEN: %v\n", err)
	}
	return b.String()
}
