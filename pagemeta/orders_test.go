//go:build steps

package pagemeta

import (
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"

	"faultline/internal/campaign"
	"faultline/uffd"
)

// An explorer runs a play in every order of its actors' steps, by running it
// again and again from the start: goroutines cannot be set back. Two orders that
// lead to the same position have the same future, so each position's next steps
// are taken once.
type explorer struct {
	begin func() *play
	all   bool // take every order as a whole, to compare

	positions map[string]*position
	start     *position
	plays     int // from the start
	complete  int // of these, to the end
	steps     int
	bug       error // the first broken invariant
	order     []string
}

// A position is what decides what can come next, see play.position.
type position struct {
	next     []*position
	counting bool
	orders   *big.Int // from here to an end
}

// explore finds the first order that breaks an invariant, or takes all.
func (e *explorer) explore(t testing.TB) {
	*e = explorer{begin: e.begin, all: e.all, positions: map[string]*position{}}
	todo := [][]int{nil} // choices from the start, of plays to make
	for len(todo) > 0 && e.bug == nil {
		choices := todo[len(todo)-1]
		todo = e.play(t, choices, todo[:len(todo)-1])
	}
}

// play makes the choices, then goes on with the first actor that can until the
// play ends or is where another one has been. It appends what else could have
// been chosen on the way to todo.
func (e *explorer) play(t testing.TB, choices []int, todo [][]int) [][]int {
	p := e.begin()
	defer p.end(t)
	e.plays++
	var order []string
	at, _ := e.enter(p)
	e.start = at
	for i := 0; ; i++ {
		var free []*actor
		for _, a := range p.actors {
			if a.free() {
				free = append(free, a)
			}
		}
		if len(free) == 0 {
			e.complete++
			e.bug, e.order = p.checkEnd(), order
			return todo
		}
		choice := 0
		if i < len(choices) {
			choice = choices[i]
		} else {
			for other := 1; other < len(free); other++ {
				todo = append(todo, append(choices[:i:i], other))
			}
			choices = append(choices[:i:i], 0)
		}
		order = append(order, free[choice].String())
		p.let(free[choice])
		e.steps++
		if err := p.check(); errors.Is(err, errPanic) && p.effects {
			return todo // it could do nothing more to the data
		} else if err != nil {
			e.bug, e.order = err, order
			return todo
		}
		isNew := i >= len(choices)-1
		next, known := e.enter(p)
		if isNew {
			at.next = append(at.next, next)
			if known && !e.all {
				return todo
			}
		}
		at = next
	}
}

// enter returns the position of p.
func (e *explorer) enter(p *play) (at *position, known bool) {
	key := p.position()
	at, known = e.positions[key]
	if !known {
		at = &position{}
		e.positions[key] = at
	}
	return at, known
}

// position is all that the next steps depend on: the page, its owner, the gate,
// where each actor is, and what of the page it has seen since it got there.
func (p *play) position() string {
	var b strings.Builder
	writable, err := p.writable()
	memory, resident := p.memory()
	fmt.Fprint(&b, p.table.load(page), writable, err, memory, resident, p.model, p.cut, p.heads, p.shut, p.inside, p.round, p.part, p.turn,
		p.table.cut.Load(), p.table.frozen[0].Load(),
		contentOf(&p.owner.disk), contentOf(&p.owner.slot), p.owner.live, p.owner.last)
	for _, a := range p.actors {
		fmt.Fprint(&b, "|", a.at, a.parked, a.saw.String())
	}
	return b.String()
}

// count returns the number of orders from here to an end.
func (at *position) count() *big.Int {
	if at.orders != nil {
		return at.orders
	}
	if at.counting {
		panic("an actor can make steps for ever, and come to nothing")
	}
	at.counting = true
	n := new(big.Int)
	for _, next := range at.next {
		n.Add(n, next.count())
	}
	if len(at.next) == 0 {
		n.SetInt64(1)
	}
	at.orders = n
	return n
}

// count returns the number of orders of the play, once it is explored.
func (e *explorer) count() *big.Int { return e.start.count() }

func (e *explorer) String() string {
	return fmt.Sprintf("%d orders, by %d plays and %d steps to %d positions", e.count(), e.plays, e.steps, len(e.positions))
}

func openPagemap(t testing.TB) *uffd.Pagemap {
	t.Helper()
	pm, err := uffd.OpenPagemap()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pm.Close() })
	return pm
}

// oneAtATime saves waking a thread for each step.
func oneAtATime(t *testing.T) {
	procs := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(procs) })
}

// TestOrders runs the real mkwrite, Freeze, Capture and Written on a real page in
// every order of their steps: one writer traps, one calls Prepare, and a flusher
// makes rounds beside them; the page is Absent, Clean or Dirty when they begin.
// After each step the invariants of the package must hold, each image must be the
// page at its freeze, and after a last round the data file must be the memory and
// no head in use.
func TestOrders(t *testing.T) {
	watchdog(t)
	oneAtATime(t)
	pm := openPagemap(t)
	rounds := campaign.Scale(t, 2)
	for _, s := range []State{Absent, Clean, Dirty} {
		t.Run(s.String(), func(t *testing.T) {
			e := &explorer{begin: func() *play {
				p := newPlay(t, pm, s)
				p.add("trapper", p.writer(0, 7, false))
				p.add("preparer", p.writer(2, 8, true))
				p.add("flusher", p.flusher(rounds))
				return p
			}}
			e.find(t, "<nil>")
		})
	}
}

// TestAheadOrders is TestOrders with a flusher that freezes ahead of each cut.
func TestAheadOrders(t *testing.T) {
	watchdog(t)
	oneAtATime(t)
	pm := openPagemap(t)
	rounds := campaign.Scale(t, 2)
	for _, s := range []State{Clean, Dirty} {
		t.Run(s.String(), func(t *testing.T) {
			e := &explorer{begin: func() *play {
				p := newPlay(t, pm, s)
				p.ahead = true
				p.add("trapper", p.writer(0, 7, false))
				p.add("preparer", p.writer(2, 8, true))
				p.add("flusher", p.flusher(rounds))
				return p
			}}
			e.find(t, "<nil>")
		})
	}
}

// TestEvictOrders is TestOrders with an evictor, and a reader that traps, beside a
// writer that traps or prepares and a flusher: a reader must see what was stored last,
// and the account of memory must be right in the end.
func TestEvictOrders(t *testing.T) {
	watchdog(t)
	oneAtATime(t)
	pm := openPagemap(t)
	evicts := campaign.Scale(t, 2)
	for _, s := range []State{Absent, Clean, Dirty, Flight} {
		for _, by := range []string{"trap", "prepare"} {
			t.Run(s.String()+", "+by, func(t *testing.T) {
				e := &explorer{begin: func() *play {
					p := newPlay(t, pm, s)
					p.add("writer", p.writer(0, 7, by == "prepare"))
					p.add("reader", p.reader)
					if s == Flight {
						p.add("flusher", p.rest)
					} else {
						p.add("flusher", p.flusher(1))
					}
					p.add("evictor", p.evictor(evicts))
					return p
				}}
				e.find(t, "<nil>")
			})
		}
	}
}

// TestExplorer compares the explorer with one that takes every order from its
// begin to its end: it must have counted as many. The play is small.
func TestExplorer(t *testing.T) {
	watchdog(t)
	oneAtATime(t)
	pm := openPagemap(t)
	begin := func() *play {
		p := newPlay(t, pm, Frozen)
		p.add("prepare", func(a *actor) error {
			a.hold("prepare", nil)
			return p.table.Prepare(page)
		})
		p.add("flusher", p.rest)
		return p
	}
	e, whole := &explorer{begin: begin}, &explorer{begin: begin, all: true}
	e.explore(t)
	whole.explore(t)
	if e.bug != nil || whole.bug != nil {
		t.Fatalf("%v, %v", e.bug, whole.bug)
	}
	t.Log(e)
	if n := e.count(); n.Int64() != int64(whole.complete) {
		t.Errorf("counted %d orders, there are %d", n, whole.complete)
	}
}

// dropLock lets go of the page lock before step from, and takes it again before
// step to; the same step twice is a moment without the lock.
func dropLock(from, to step) func(p *play) {
	return func(p *play) {
		p.mutant = func(id PageID, s step) {
			if s == from {
				p.table.unlock(id)
			}
			if s == to {
				p.table.lock(id)
			}
		}
	}
}

// unprotect makes the page writable behind the table's back.
func (p *play) unprotect() {
	if err := p.table.arena.fd.Unprotect(p.table.arena.addr(page), PageBytes); err != nil {
		panic(err)
	}
}

// mutants are ways to break the protocol, with what TestOrders must say first, and
// what must happen to the data if nothing else is checked. The play has two writers
// that trap; it begins with the page Dirty, or Frozen and the flusher in the middle
// of a round.
var mutants = []struct {
	name  string
	from  State
	do    func(p *play)
	bug   string
	harms string // empty: the code panics before
}{
	{"lock dropped from B to D", Frozen, dropLock(stepUnprotect, stepDirty),
		"writable is not dirty", "torn cut"},
	{"lock dropped between B and C", Frozen, dropLock(stepUnprotect, stepUnprotect),
		"panic: pagemeta: mkwrite of page 3, which is dirty", ""},
	{"lock dropped between C and D", Frozen, dropLock(stepDirty, stepDirty),
		"writable is not dirty", "torn cut"},
	{"gate left open", Dirty, func(p *play) { p.gateless = true },
		"stored to unseen", "torn cut"},
	{"image not captured", Frozen, func(p *play) { p.owner.forgetful = true },
		"torn cut", "torn cut"},
	{"protection lost in freeze", Dirty, func(p *play) {
		p.mutant = func(_ PageID, s step) {
			if s == stepMark {
				p.unprotect()
			}
		}
	}, "writable is not dirty", "torn cut"},
	{"frozen ahead, taken for a cut", Dirty, func(p *play) {
		p.ahead = true
		p.mutant = func(_ PageID, s step) {
			if s == stepLock {
				p.table.cut.Store(true)
			}
		}
	}, "have leaked", ""},
	{"cut, taken for frozen ahead", Frozen, func(p *play) {
		p.mutant = func(_ PageID, s step) {
			if s == stepLock {
				p.table.cut.Store(false)
			}
		}
	}, "torn cut", "torn cut"},
	{"protection lost after capture", Frozen, func(p *play) {
		p.mutant = func(_ PageID, s step) {
			if s == stepFlight {
				p.unprotect()
			}
		}
	}, "writable is not dirty", "lost update"},
}

// TestMutants shows that TestOrders finds what breaks the protocol.
func TestMutants(t *testing.T) {
	watchdog(t)
	oneAtATime(t)
	pm := openPagemap(t)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			e := &explorer{begin: func() *play {
				p := newPlay(t, pm, m.from)
				m.do(p)
				p.add("one", p.writer(0, 7, false))
				p.add("two", p.writer(2, 8, false))
				if m.from == Frozen {
					p.add("flusher", p.rest)
				} else {
					p.add("flusher", p.flusher(1))
				}
				return p
			}}
			e.find(t, m.bug)
			if m.harms == "" {
				return
			}
			begin := e.begin
			e.begin = func() *play {
				p := begin()
				p.effects = true
				return p
			}
			e.find(t, m.harms)
		})
	}
}

// find explores, and wants a bug that says want, or none.
func (e *explorer) find(t *testing.T, want string) {
	t.Helper()
	e.explore(t)
	if found := fmt.Sprint(e.bug); !strings.Contains(found, want) {
		t.Errorf("found %v, want %q, after\n%s", e.bug, want, strings.Join(e.order, "\n"))
	}
	e.count() // panics if an actor can go in circles
	t.Logf("%v: %v", e, e.bug)
}
