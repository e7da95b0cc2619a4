package pagemeta

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"faultline/internal/offheap"
	"faultline/uffd"
)

// A testOwner keeps pages in a map. What it is told, and what it answers, can be
// scripted.
type testOwner struct {
	mu struct {
		sync.Mutex
		disk        map[PageID]Page
		images      map[PageID]Page // that Mkwrite has captured
		heads       uint32
		forgotten   []uint32
		told        []string // of Mkwrite, in order
		failRead    error
		failMkwrite error
	}
}

func newOwner() *testOwner {
	o := &testOwner{}
	o.mu.disk, o.mu.images = map[PageID]Page{}, map[PageID]Page{}
	return o
}

func (o *testOwner) Stop(cause error) error { return cause }

func (o *testOwner) ReadPage(id PageID, image *Page) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.failRead != nil {
		return fmt.Errorf("read page %d: %w", id, o.mu.failRead)
	}
	*image = o.mu.disk[id]
	return nil
}

func (o *testOwner) Mkwrite(id PageID, head uint32, frozen *Page) (uint32, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.failMkwrite != nil {
		return 0, fmt.Errorf("mkwrite page %d: %w", id, o.mu.failMkwrite)
	}
	o.mu.heads++
	told := fmt.Sprintf("mkwrite: head %d -> %d", head, o.mu.heads)
	if frozen != nil {
		o.mu.images[id] = *frozen
		told += fmt.Sprintf(", captured %d", frozen[HeaderBytes])
	}
	o.mu.told = append(o.mu.told, told)
	return o.mu.heads, nil
}

func (o *testOwner) Forget(head uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.forgotten = append(o.mu.forgotten, head)
}

func (o *testOwner) attached() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int(o.mu.heads)
}

// newTable returns a table of pages, or skips where there is no userfaultfd. At the
// end of the test, when nothing is under way, its account of memory must be right.
func newTable(t testing.TB, c Config) *Table {
	t.Helper()
	table, err := New(c)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !table.closed.Load() {
			checkRoom(t, table)
		}
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	})
	return table
}

// bothWays runs f with Prepare and Ask, and with traps alone.
func bothWays(t *testing.T, f func(t *testing.T, trapOnly bool)) {
	t.Run("prepared", func(t *testing.T) { f(t, false) })
	t.Run("trap-only", func(t *testing.T) { f(t, true) })
}

// audit fails the test if a page is writable that is not Dirty. Where the kernel
// cannot tell, the test does without; TestAudit skips there, and says so.
func audit(t testing.TB, table *Table) {
	t.Helper()
	if err := table.Audit(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// watchdog ends the process with the stacks of all goroutines if the test has
// not ended in time: what it guards against is a world that stands still, which
// no deadline of a context would end.
func watchdog(t testing.TB) {
	dog := time.AfterFunc(2*time.Minute, func() {
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
		panic("watchdog: " + t.Name() + " hangs")
	})
	t.Cleanup(func() { dog.Stop() })
}

// operate runs fn inside a boundary, in the way of every operation, until there
// is no trap. It returns how often there was one.
func operate(t *Table, intent Intent, fn func(tr *Trap)) (traps int, err error) {
	for {
		trap := attempt(t, fn)
		if !trap.Hit() {
			return traps, nil
		}
		traps++
		if err := t.Resolve(&trap, intent); err != nil {
			return traps, err
		}
	}
}

func attempt(t *Table, fn func(tr *Trap)) (trap Trap) {
	defer t.Catch(&trap, Arm())
	fn(&trap)
	return trap
}

// read returns the first byte of the contents of page id.
func read(t *Table, id PageID) (b byte, traps int, err error) {
	traps, err = operate(t, ToRead, func(*Trap) { b = t.Page(id)[HeaderBytes] })
	return b, traps, err
}

// store sets the first byte of the contents of page id, in two phases.
func store(t *Table, id PageID, b byte) (traps int, err error) {
	return operate(t, ToWrite, func(tr *Trap) {
		t.Page(id).Touch()
		tr.Commit()
		t.Page(id)[HeaderBytes] = b
	})
}

// cycle takes all Dirty pages to Clean, as a flush round does, and their images
// to the owner's disk.
func cycle(t testing.TB, table *Table, o *testOwner) {
	t.Helper()
	cut, err := table.Freeze(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range cut {
		var image Page
		if !table.Capture(p.ID, &image) {
			o.mu.Lock()
			image = o.mu.images[p.ID]
			o.mu.Unlock()
		}
		o.mu.Lock()
		o.mu.disk[p.ID] = image
		o.mu.Unlock()
		table.Written(p.ID)
	}
}

// A script is what a transcript plays on.
type script struct {
	t     *testing.T
	table *Table
	owner *testOwner
	pm    *uffd.Pagemap
}

// TestTranscripts plays the transcripts in testdata/events on a table, with an owner
// that does as it is told. A command is an event on a page; its output is what
// the owner was told, the page's state after it, whether a store to it would
// trap (the kernel is asked), and the first byte of what was captured. Every
// command ends with an audit.
func TestTranscripts(t *testing.T) {
	pm, err := uffd.OpenPagemap()
	if err != nil {
		t.Fatal(err)
	}
	defer pm.Close()
	datadriven.Walk(t, "testdata/events", func(t *testing.T, path string) {
		s := &script{t: t, pm: pm}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				s.owner = newOwner()
				s.table = newTable(t, Config{Pages: 16, Owner: s.owner, TrapOnly: d.HasArg("trap-only")})
				return ""
			}
			s.owner.mu.told = nil
			out := s.play(d)
			if err := s.table.Audit(); err != nil {
				if errors.Is(err, errors.ErrUnsupported) {
					t.Skip(err)
				}
				out += fmt.Sprintf("audit: %v\n", err)
			}
			return out
		})
	})
}

// play does one command.
func (s *script) play(d *datadriven.TestData) string {
	switch d.Cmd {
	case "freeze-ahead":
		n, next, err := s.table.FreezeAhead(0, 1)
		if err != nil {
			d.Fatalf(s.t, "%v", err)
		}
		return fmt.Sprintf("%d pages, go on with %d\n", n, next)
	case "freeze":
		cut, err := s.table.Freeze(nil)
		if err != nil {
			d.Fatalf(s.t, "%v", err)
		}
		var b strings.Builder
		for _, p := range cut {
			fmt.Fprintf(&b, "page %d: head %d, %s\n", p.ID, p.Head, s.state(p.ID))
		}
		return b.String()
	case "metrics":
		m := s.table.Metrics()
		return fmt.Sprintf("mkwrites by trap %d, prepared %d; captured %d; loads %d, by trap %d; evicted %d; dirty %d, in memory %d\n",
			m.MkwriteTraps, m.MkwritePrepared, m.Captured, m.Loads, m.LoadTraps, m.Evicted, m.DirtyPages, m.ResidentPages)
	case "evict":
		want := len(s.table.metas)
		d.MaybeScanArgs(s.t, "want", &want)
		s.table.clock.mu.Lock()
		gone := s.table.evict(want)
		s.table.clock.mu.Unlock()
		var b strings.Builder
		for id := range PageID(len(s.table.metas)) {
			if w := s.table.load(id); w.State() != Absent || w.fresh() {
				fmt.Fprintf(&b, "page %d: %s\n", id, s.state(id))
			}
		}
		return fmt.Sprintf("%d evicted\n%s", gone, b.String())
	case "owner-fails":
		s.owner.mu.failRead, s.owner.mu.failMkwrite = nil, nil
		if d.HasArg("read") {
			s.owner.mu.failRead = errors.New("owner cannot")
		}
		if d.HasArg("mkwrite") {
			s.owner.mu.failMkwrite = errors.New("owner cannot")
		}
		return ""
	}
	n, err := strconv.Atoi(d.CmdArgs[0].Key)
	if err != nil {
		d.Fatalf(s.t, "page number: %v", err)
	}
	out := s.event(d, PageID(n))
	for _, told := range s.owner.mu.told {
		out += told + "\n"
	}
	return out + s.state(PageID(n)) + "\n"
}

// event does the event d on page id, and returns what came of it, if anything.
func (s *script) event(d *datadriven.TestData, id PageID) string {
	value := 0
	d.MaybeScanArgs(s.t, "value", &value)
	traps, err := 0, error(nil)
	switch d.Cmd {
	case "load":
		err = s.table.Ask(id, Warm)
	case "prepare":
		err = s.table.Prepare(id)
	case "store":
		traps, err = store(s.table, id, byte(value))
	case "read":
		var b byte
		if b, traps, err = read(s.table, id); err == nil {
			return fmt.Sprintf("%s%d\n", trapped(traps), b)
		}
	case "fresh":
		s.table.Fresh(id)
	case "disk":
		s.owner.mu.disk[id] = Page{HeaderBytes: byte(value)}
	case "capture":
		var image Page
		if !s.table.Capture(id, &image) {
			return "not frozen\n"
		}
		return fmt.Sprintf("captured %d\n", image[HeaderBytes])
	case "written":
		s.table.Written(id)
	default:
		d.Fatalf(s.t, "unknown command %q", d.Cmd)
	}
	if err != nil {
		return fmt.Sprintf("%serror: %v\n", trapped(traps), err)
	}
	return trapped(traps)
}

func trapped(traps int) string {
	if traps == 0 {
		return ""
	}
	return fmt.Sprintf("traps: %d\n", traps)
}

// state is the state of page id as the table has it, and as the kernel does.
func (s *script) state(id PageID) string {
	runs, err := s.pm.Writable(s.table.arena.addr(id), PageBytes, nil)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		s.t.Skip(err)
	case err != nil:
		s.t.Fatal(err)
	case len(runs) > 0:
		return fmt.Sprintf("%v, writable", s.table.State(id))
	}
	return fmt.Sprint(s.table.State(id))
}

// TestNoMemoryForFresh has the kernel refuse to make a fresh page: mkwrite has an error,
// its head is given back, and the page can be made later.
func TestNoMemoryForFresh(t *testing.T) {
	owner := newOwner()
	table := newTable(t, Config{Pages: 8, Owner: owner})
	const id = 3
	table.Fresh(id)
	// A page that is there already stands for memory that is not: both are errors of Copy.
	if err := table.arena.fd.Copy(table.arena.addr(id), zeroPage[:], true); err != nil {
		t.Fatal(err)
	}
	if err := table.Prepare(id); !errors.Is(err, syscall.EEXIST) || table.State(id) != Absent {
		t.Fatalf("Prepare of a page that cannot be made: %v, and it is %v", err, table.State(id))
	}
	if len(owner.mu.forgotten) != 1 || owner.mu.forgotten[0] != 1 {
		t.Fatalf("heads given back: %d, want that of the page, 1", owner.mu.forgotten)
	}
	if err := offheap.Drop(table.arena.span(id, 1)); err != nil {
		t.Fatal(err)
	}
	if err := table.Prepare(id); err != nil || table.State(id) != Dirty {
		t.Fatalf("Prepare: %v, and the page is %v", err, table.State(id))
	}
}
