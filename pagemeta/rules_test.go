//go:build !race

package pagemeta

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// boundaryRules are what the package comment forbids inside a boundary, done. Each
// ends the process, or repeats a part of what it does when it is begun again; then
// it returns what is wrong.
var boundaryRules = []struct {
	name string
	do   func(t *testing.T, table *Table) string
	ends string // of this the process's last words have
}{
	// A map that holds a key in the arena hashes it again when it grows. The page is
	// taken away by hand, as eviction would.
	{"map", func(t *testing.T, table *Table) string {
		reach(t, table, 1, Clean)
		m := map[string]int{unsafe.String(&table.Page(1)[20], 40): 1}
		if err := unix.Madvise(table.arena.mem, unix.MADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		attempt(table, func(*Trap) {
			for i := range 100 {
				m[strconv.Itoa(i)] = i
			}
		})
		m["another"] = 2
		return ""
	}, "concurrent map writes"},
	// The copy into a channel is made with a lock of the runtime held. The compiler
	// looks at the first byte before.
	{"send", func(t *testing.T, table *Table) string {
		reach(t, table, 1, Clean)
		ch := make(chan [2 * PageBytes]byte, 1)
		p := (*[2 * PageBytes]byte)(unsafe.Pointer(table.Page(1)))
		attempt(table, func(*Trap) { ch <- *p })
		return ""
	}, "unexpected signal during runtime execution"},
	{"receive", func(t *testing.T, table *Table) string {
		reach(t, table, 1, Clean)
		ch := make(chan byte, 1)
		ch <- 5
		p := &table.Page(1)[30]
		attempt(table, func(*Trap) { *p = <-ch })
		if len(ch) == 0 {
			return "the element is gone, and nothing is stored"
		}
		return ""
	}, ""},
	{"append", func(t *testing.T, table *Table) string {
		reach(t, table, 1, Clean)
		list := table.Page(1)[20:30:100]
		attempt(table, func(*Trap) { list = append(list, 1, 2, 3) })
		if len(list) > 10 {
			return "the slice is longer, and nothing is stored"
		}
		return ""
	}, ""},
}

// TestBoundaryRules shows what becomes of those who break the rules of the package
// comment: each rule is broken in a process of its own, with a trap. Under the race
// detector the compiler copies what is sent before it sends it.
func TestBoundaryRules(t *testing.T) {
	if name := os.Getenv(childEnv); name != "" {
		for _, r := range boundaryRules {
			if r.name == name {
				if wrong := r.do(t, newTable(t, Config{Pages: 4, Owner: newOwner()})); wrong != "" {
					t.Fatal(wrong)
				}
			}
		}
		return
	}
	for _, r := range boundaryRules {
		t.Run(r.name, func(t *testing.T) {
			out, err := child("TestBoundaryRules", "", r.name)
			if err == nil || !strings.Contains(out, r.ends) {
				t.Errorf("the rule is not needed: %v\n%s", err, out)
			}
		})
	}
}
