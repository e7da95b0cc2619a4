package pagemeta

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pattern fills b with bytes that differ from place to place and from seed to
// seed.
func pattern(b []byte, seed int) {
	for i := range b {
		b[i] = byte(i*7 + i>>8 + seed)
	}
}

// touches are the ways in which Go code reads and writes memory: a trap comes out
// of the middle of each. Those that write stay in one page, so that the first
// store is the one that traps.
var touches = []struct {
	name   string
	intent Intent
	touch  func(p *Page) any // the result must be that on a page of the heap
}{
	{"load byte", ToRead, func(p *Page) any { return p[4095] }},
	{"load words", ToRead, func(p *Page) any { return [2]uint32{p.Round(), uint32(p.Kind())} }},
	{"load page", ToRead, func(p *Page) any { return *p }},
	{"copy out", ToRead, func(p *Page) any { b := make([]byte, 3000); copy(b, p[11:]); return b }},
	{"append from", ToRead, func(p *Page) any { return append([]byte("head"), p[100:4000]...) }},
	{"bytes.Compare", ToRead, func(p *Page) any { return bytes.Compare(make([]byte, 4096), p[:]) }},
	{"bytes.Equal", ToRead, func(p *Page) any { return bytes.Equal(p[:2048], p[2048:]) }},
	{"bytes.IndexByte", ToRead, func(p *Page) any { return bytes.IndexByte(p[:], 0xee) }},
	{"crc32", ToRead, func(p *Page) any { return crc32.Checksum(p[:], castagnoli) }},
	{"string", ToRead, func(p *Page) any { return string(p[5:999]) }},
	{"concatenation", ToRead, func(p *Page) any { return "a" + string(p[5:99]) + "b" }},
	{"map lookup by a copy", ToRead, func(p *Page) any { return map[string]int{"x": 1}[string(p[:9])] }},
	{"range", ToRead, func(p *Page) any {
		n := 0
		for _, b := range p {
			n += int(b)
		}
		return n
	}},
	{"deep stack", ToRead, func(p *Page) any { return deep(p, 300) }},

	{"store byte", ToWrite, func(p *Page) any { p[17] = 4; return nil }},
	{"touch", ToWrite, func(p *Page) any { p.Touch(); return nil }},
	{"clear", ToWrite, func(p *Page) any { clear(p[16:]); return nil }},
	{"store page", ToWrite, func(p *Page) any { *p = Page{9: 9}; return nil }},
	{"copy in", ToWrite, func(p *Page) any {
		b := make([]byte, 4096)
		pattern(b, 3)
		copy(p[1:], b)
		return nil
	}},
	{"copy up, overlapping", ToWrite, func(p *Page) any { copy(p[24:], p[16:]); return nil }},
	{"copy up, overlapping, short", ToWrite, func(p *Page) any { copy(p[24:240], p[16:]); return nil }},
	{"copy up, overlapping, far", ToWrite, func(p *Page) any { copy(p[2000:], p[:]); return nil }},
	{"copy down, overlapping", ToWrite, func(p *Page) any { copy(p[16:], p[24:]); return nil }},
	{"copy down, overlapping, far", ToWrite, func(p *Page) any { copy(p[:], p[1777:]); return nil }},
	{"seal", ToWrite, func(p *Page) any { p.Seal(3, 4); return nil }},
	{"deep stack and store", ToWrite, func(p *Page) any { n := deep(p, 300); p[30] = byte(n); return n }},
}

// deep reads p from below many frames, which the stack has to grow for.
//
//go:noinline
func deep(p *Page, depth int) int {
	var frame [512]byte
	if depth == 0 {
		runtime.GC()
		return int(p[4000])
	}
	frame[depth%512] = 1
	return deep(p, depth-1) + int(frame[depth%512])
}

// forwardCopy tells whether memory is copied and cleared forward as it should:
// with the direction flag of amd64 set, string instructions run backward.
func forwardCopy() bool {
	buf := make([]byte, 3*8192) // room on either side for what goes wrong
	want := make([]byte, len(buf))
	src := make([]byte, 3*8192)
	pattern(src, 1)
	copy(buf[8192:16384], src[8192:16384])
	for i := 8192; i < 16384; i++ {
		want[i] = src[i]
	}
	return bytes.Equal(buf, want)
}

// TestTouches takes a trap in every kind of touch, on a page that is absent, and
// for stores on one that is clean, frozen or in flight too; with a collection
// right after each trap. The result must be that of the same touch on the heap,
// which shows that the trapped attempt left nothing behind.
func TestTouches(t *testing.T) {
	bothWays(t, func(t *testing.T, trapOnly bool) {
		o := newOwner()
		table := newTable(t, Config{Pages: 1024, Owner: o, TrapOnly: trapOnly})
		id := PageID(0)
		for _, c := range touches {
			for _, from := range []State{Absent, Clean, Frozen, Flight} {
				id++
				var onHeap Page
				pattern(onHeap[:], int(id))
				onHeap[touchAt] = 0
				o.mu.disk[id] = onHeap
				reach(t, table, id, from)
				want := c.touch(&onHeap)
				var got any
				traps, err := operate(table, c.intent, func(*Trap) { got = c.touch(table.Page(id)) })
				runtime.GC()
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("%s, %v: %v, %v, want %v", c.name, from, got, err, want)
				}
				if !forwardCopy() {
					t.Fatalf("%s, %v: memory is copied backward after the trap", c.name, from)
				}
				wantTraps, state := 0, from
				if from == Absent {
					wantTraps, state = wantTraps+1, Clean
				}
				if c.intent == ToWrite {
					wantTraps, state = wantTraps+1, Dirty
				}
				if traps != wantTraps || table.State(id) != state {
					t.Errorf("%s, %v: %d traps, %v, want %d, %v", c.name, from, traps, table.State(id), wantTraps, state)
				}
				var now Page
				if _, err := operate(table, ToRead, func(*Trap) { now = *table.Page(id) }); err != nil || now != onHeap {
					t.Fatalf("%s, %v: the page is not what the heap's became (%v)", c.name, from, err)
				}
			}
		}
		audit(t, table)
	})
}

// reach brings page id, which is Absent, to state s.
func reach(t testing.TB, table *Table, id PageID, s State) {
	t.Helper()
	if s == Absent {
		return
	}
	if _, _, err := read(table, id); err != nil {
		t.Fatal(err)
	}
	if s == Clean {
		return
	}
	if _, err := operate(table, ToWrite, func(*Trap) { table.Page(id).Touch() }); err != nil {
		t.Fatal(err)
	}
	if s == Dirty {
		return
	}
	cut, err := table.Freeze(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range cut {
		if p.ID == id && s == Frozen {
			continue
		}
		var image Page
		table.Capture(p.ID, &image)
		if p.ID != id {
			table.Written(p.ID)
		}
	}
}

// childEnv makes the test binary, run again by a test, do something else.
const childEnv = "FAULTLINE_TEST_CHILD"

// child runs test again in a process of its own.
func child(test, godebug, what string) (string, error) {
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG="+godebug, childEnv+"="+what)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestWithoutAVX runs TestTouches in a process whose memmove uses no AVX: it then
// copies overlapping memory backward with the direction flag set, which a trap
// leaves set. TestDirectionFlag is the control.
func TestWithoutAVX(t *testing.T) {
	if out, err := child("TestTouches", "cpu.avx=off", "touches"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestDirectionFlag shows what TestWithoutAVX would find: with a boundary that
// only recovers, a trap in a backward copy leaves memory copied backward, or the
// process dead, since the runtime copies too. It needs amd64, and a memmove that
// behaves so.
func TestDirectionFlag(t *testing.T) {
	if os.Getenv(childEnv) == "flag" {
		table := newTable(t, Config{Pages: 1, Owner: newOwner()})
		reach(t, table, 0, Clean)
		func() {
			defer func() { recover() }()
			defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
			p := table.Page(0)
			copy(p[24:], p[16:])
		}()
		if !forwardCopy() {
			os.Exit(3)
		}
		return
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("amd64 only")
	}
	out, err := child("TestDirectionFlag", "cpu.avx=off", "flag")
	if err == nil {
		t.Fatalf("a boundary that does not clear the direction flag gets away with it\n%s", out)
	}
	t.Logf("%v\n%s", err, out)
}

// look loads from p; a load whose result is dropped would be none.
//
//go:noinline
func look(p *Page) byte { return p[9] }

// recovered runs fn and returns what it panics with.
func recovered(fn func()) (r any) {
	defer func() { r = recover() }()
	fn()
	return nil
}

// TestOtherPanics lets code inside a boundary panic for other reasons than a trap
// of the arena. Each panic must come out of the boundary as it was, and the
// goroutine's SetPanicOnFault must be as before.
func TestOtherPanics(t *testing.T) {
	table := newTable(t, Config{Pages: 4, Owner: newOwner()})
	other, err := unix.Mmap(-1, 0, 4096, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(other)
	var null *Page
	mine := errors.New("mine")
	for _, c := range []struct {
		name string
		do   func()
		is   func(r any) bool
	}{
		{"nil pointer", func() { null.Touch() }, func(r any) bool {
			return strings.Contains(fmt.Sprint(r), "nil pointer")
		}},
		{"other memory", func() { other[5] = 1 }, func(r any) bool {
			a, ok := r.(interface{ Addr() uintptr })
			return ok && a.Addr() == reflect.ValueOf(other).Pointer()+5
		}},
		{"panic", func() { panic(mine) }, func(r any) bool { return r == mine }},
		{"index", func() { _ = other[len(other):][table.Pages] }, func(r any) bool {
			return strings.Contains(fmt.Sprint(r), "out of range")
		}},
	} {
		for _, armed := range []bool{false, true} {
			was := debug.SetPanicOnFault(armed)
			r := recovered(func() { attempt(table, func(*Trap) { c.do() }) })
			if now := debug.SetPanicOnFault(was); now != armed {
				t.Errorf("%s: SetPanicOnFault is %t after, was %t", c.name, now, armed)
			}
			if r == nil || !c.is(r) {
				t.Errorf("%s: %v came out", c.name, r)
			}
		}
	}
	if _, _, err := read(table, 1); err != nil { // and the table is as good as before
		t.Error(err)
	}
}

// TestPanicOnFault checks that a boundary puts SetPanicOnFault back to what it
// was, with a trap and without one.
func TestPanicOnFault(t *testing.T) {
	table := newTable(t, Config{Pages: 4, Owner: newOwner()})
	for id, armed := range []bool{false, true} {
		for _, wantTrap := range []bool{true, false} {
			was := debug.SetPanicOnFault(armed)
			trap := attempt(table, func(*Trap) { look(table.Page(PageID(id))) })
			if now := debug.SetPanicOnFault(was); now != armed {
				t.Errorf("trap %t: SetPanicOnFault is %t after, was %t", trap.Hit(), now, armed)
			}
			if trap.Hit() != wantTrap {
				t.Fatalf("trap %t, want %t", trap.Hit(), wantTrap)
			}
			if trap.Hit() {
				if err := table.Resolve(&trap, ToRead); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestNested puts the boundary of one table inside that of another: each trap
// must come to its own table, from wherever it is taken, and the outer operation
// works on when the inner one has ended.
func TestNested(t *testing.T) {
	outer := newTable(t, Config{Pages: 4, Owner: newOwner()})
	inner := newTable(t, Config{Pages: 8, Owner: newOwner()})
	begun, ended, innerTraps := 0, 0, 0
	n, err := operate(outer, ToRead, func(*Trap) {
		begun++
		m, err := operate(inner, ToWrite, func(tr *Trap) {
			look(outer.Page(1)) // taken inside, belongs outside
			inner.Page(2).Touch()
			tr.Commit()
			inner.Page(2)[20] = 1
		})
		innerTraps += m
		if err != nil {
			t.Error(err)
		}
		if !debug.SetPanicOnFault(true) {
			t.Error("the inner boundary has disarmed the outer one")
		}
		look(outer.Page(3))
		ended++
	})
	// Page 1 ends the first attempt, page 3 the second; the third finds all there.
	if err != nil || n != 2 || begun != 3 || ended != 1 || innerTraps != 2 {
		t.Errorf("%d traps, %d attempts begun, %d ended, %d inner traps, %v", n, begun, ended, innerTraps, err)
	}
	if outer.State(1) != Clean || outer.State(3) != Clean || inner.State(2) != Dirty {
		t.Errorf("states %v, %v, %v", outer.State(1), outer.State(3), inner.State(2))
	}
}

// TestPhaseTwo takes a trap after Commit, in every state that traps: it must
// panic, and say which page it was and in what state.
func TestPhaseTwo(t *testing.T) {
	for _, s := range []State{Absent, Clean, Frozen, Flight} {
		table := newTable(t, Config{Pages: 4, Owner: newOwner()})
		reach(t, table, 2, s)
		r := recovered(func() {
			attempt(table, func(tr *Trap) {
				tr.Commit()
				table.Page(2)[100] = 1
			})
		})
		if text := fmt.Sprint(r); !strings.Contains(text, "page 2") || !strings.Contains(text, s.String()) {
			t.Errorf("%v: panic %q", s, text)
		}
		if got := table.State(2); got != s {
			t.Errorf("%v: is %v after", s, got)
		}
	}
}

// TestReaderNeverDirties resolves traps of stores with ToRead, in every state:
// the page may be loaded, and nothing else may happen to it.
func TestReaderNeverDirties(t *testing.T) {
	for _, s := range []State{Absent, Clean, Frozen, Flight} {
		o := newOwner()
		table := newTable(t, Config{Pages: 4, Owner: o})
		reach(t, table, 2, s)
		heads, want := o.attached(), s
		for range 3 {
			trap := attempt(table, func(*Trap) { table.Page(2).Touch() })
			if !trap.Hit() {
				t.Fatalf("%v: no trap", s)
			}
			if err := table.Resolve(&trap, ToRead); err != nil {
				t.Fatal(err)
			}
			if want == Absent {
				want = Clean
			}
			if got := table.State(2); got != want || o.attached() != heads {
				t.Fatalf("%v: %v after a reader, want %v; %d heads, want %d", s, got, want, o.attached(), heads)
			}
		}
		audit(t, table)
	}
}
