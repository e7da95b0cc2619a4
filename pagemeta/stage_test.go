//go:build steps

package pagemeta

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
)

// A stage holds goroutines, its actors, before each of their steps, and lets one
// of them at a time go on to its next: what comes after what is chosen by a test,
// and what they run is the code of the package, on memory that traps.
//
// An actor that parks on the page lock says so while it holds the mutex of the
// wait queue (stepWait), and who unlocks must take that mutex to wake it. So the
// stage knows who waits without a look at a clock.
type stage struct {
	actors  []*actor
	reports chan *actor // is held, parked, or has ended
	over    bool

	// mutant, if it is set, is called before a step by the actor that is about to
	// make it: it breaks the protocol there.
	mutant func(id PageID, s step)

	// look returns what an actor can have taken into its variables.
	look func() string

	runs *actor // if one alone runs
	mu   struct {
		sync.Mutex
		byGoroutine map[string]*actor
	}
}

// An actor is one goroutine on a stage.
type actor struct {
	name  string
	stage *stage
	goOn  chan struct{}

	at     string      // the step that it is held before
	ready  func() bool // may it make that step; nil: always
	parked bool        // it waits for the page lock
	ended  bool
	err    error           // with which it has ended
	saw    strings.Builder // at each step of the protocol since the last of the test
}

// errOver unwinds an actor whose stage is left.
var errOver = errors.New("the stage is left")

// errPanic is wrapped by what an actor ends with that has panicked.
var errPanic = errors.New("panic")

// newStage returns the only stage there is until leave.
func newStage() *stage {
	s := &stage{reports: make(chan *actor)}
	s.mu.byGoroutine = map[string]*actor{}
	onStep = s.onStep
	return s
}

// add starts an actor, which must begin with a hold, and returns when it is held.
func (s *stage) add(name string, do func(a *actor) error) *actor {
	a := &actor{name: name, stage: s, goOn: make(chan struct{})}
	s.actors = append(s.actors, a)
	go func() {
		s.mu.Lock()
		s.mu.byGoroutine[goroutine()] = a
		s.mu.Unlock()
		defer func() {
			if r := recover(); r != nil {
				a.err = fmt.Errorf("%w: %v", errPanic, r)
			}
			a.at, a.ended = "", true
			s.reports <- a
		}()
		a.err = do(a)
	}()
	<-s.reports
	return a
}

// goroutine returns the number of the calling goroutine.
func goroutine() string {
	var buf [64]byte
	return string(bytes.Fields(buf[:runtime.Stack(buf[:], false)])[1])
}

// caller returns the actor that calls, or nil if it is the test.
func (s *stage) caller() *actor {
	if s.runs != nil {
		return s.runs // to ask the runtime takes longer than all the rest
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.byGoroutine[goroutine()]
}

func (s *stage) onStep(id PageID, st step) {
	a := s.caller()
	switch {
	case a == nil: // the test itself
	case s.over && st == stepUnlock: // deferred, as the actor unwinds
	case s.over:
		panic(errOver)
	case st == stepWait:
		a.parked, a.at = true, string(st)
		s.reports <- a
	default:
		if s.mutant != nil {
			s.mutant(id, st)
		}
		if st != stepLock {
			a.saw.WriteString(s.look())
		}
		a.holdIn(string(st), nil)
	}
}

// hold stops the actor before step at, a step of the test. No variable of the
// protocol outlives it.
func (a *actor) hold(at string, ready func() bool) {
	a.saw.Reset()
	a.holdIn(at, ready)
}

func (a *actor) holdIn(at string, ready func() bool) {
	if a.stage.over {
		panic(errOver)
	}
	a.at, a.ready = at, ready
	a.stage.reports <- a
	<-a.goOn
	if a.stage.over && at != string(stepUnlock) { // which others may wait for
		panic(errOver)
	}
}

// free tells whether the actor can make its next step now.
func (a *actor) free() bool { return !a.ended && !a.parked && (a.ready == nil || a.ready()) }

// let lets a, which is free, make one step, and returns when nobody runs: a is
// held, parked or has ended, and so are those whom it has woken.
func (s *stage) let(a *actor) {
	running := 1
	if a.at == string(stepUnlock) {
		for _, b := range s.actors {
			if b.parked {
				b.parked = false
				running++
			}
		}
	}
	if running == 1 {
		s.runs = a
	}
	a.goOn <- struct{}{}
	for range running {
		<-s.reports
	}
	s.runs = nil
}

// leave ends all actors, wherever they are.
func (s *stage) leave() {
	s.over = true
	var held []*actor
	running := 0
	for _, a := range s.actors {
		if !a.ended {
			running++
		}
		if !a.ended && !a.parked { // who is parked is woken by an unlock of these
			held = append(held, a)
		}
	}
	for _, a := range held {
		a.goOn <- struct{}{}
	}
	for range running {
		<-s.reports
	}
	onStep = nil
}

func (a *actor) String() string {
	switch {
	case a.parked:
		return a.name + " waits for the page lock"
	case !a.ended && !a.free():
		return fmt.Sprintf("%s waits to %s", a.name, a.at)
	case !a.ended:
		return fmt.Sprintf("%s before %s", a.name, a.at)
	case a.err != nil:
		return fmt.Sprintf("%s ended: %v", a.name, a.err)
	}
	return a.name + " ended"
}
