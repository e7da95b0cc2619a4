package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"faultline/pagemeta"
)

// userfaultfds returns the descriptors of this process that are userfaultfds.
func userfaultfds(t *testing.T) map[int]bool {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	fds := map[int]bool{}
	for _, link := range links {
		// What cannot be read was closed meanwhile, as Glob's own is.
		if to, err := os.Readlink(link); err == nil && to == "anon_inode:[userfaultfd]" {
			fd, err := strconv.Atoi(filepath.Base(link))
			if err != nil {
				t.Fatal(err)
			}
			fds[fd] = true
		}
	}
	return fds
}

// openProtected opens a store whose pages are all Clean, and returns the
// descriptor of its userfaultfd.
func openProtected(t *testing.T, o Options) (db *DB, fd int) {
	t.Helper()
	before := userfaultfds(t)
	db, err := Open(t.TempDir(), &o)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // it has stopped, and says so
	for after := range userfaultfds(t) {
		if !before[after] {
			fd = after
		}
	}
	if fd == 0 {
		t.Fatal("the store has opened no userfaultfd")
	}
	for i := range 500 {
		if err := db.Put(fmt.Appendf(nil, "key %03d", i), make([]byte, 200), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Audit(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return db, fd
}

// wantAuditStops wants the audit to find that protection is gone, and the store to
// take no more writes. What is there can be read.
func wantAuditStops(t *testing.T, db *DB) {
	t.Helper()
	err := db.Audit()
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "writable") {
		t.Fatalf("audit: %v, want one that stops the store", err)
	}
	t.Log(err)
	if err := db.Put([]byte("more"), nil, Deferred); !errors.Is(err, ErrStopped) {
		t.Errorf("put: %v, want %v", err, ErrStopped)
	}
	if _, err := db.Get([]byte("key 007")); err != nil {
		t.Errorf("get: %v", err)
	}
}

// TestClosedDescriptor closes the userfaultfd under an open store, as a stray
// close of its number would: all protection is gone, without an error anywhere. A
// write by the trap alone is then made and not noticed; the audit must find that
// out and stop the store. It must do so before the first write too.
func TestClosedDescriptor(t *testing.T) {
	for _, write := range []bool{false, true} {
		t.Run(fmt.Sprintf("write=%t", write), func(t *testing.T) {
			db, fd := openProtected(t, Options{TrapOnly: true, CheckpointEvery: -1})
			closeUnder(t, fd)
			if write {
				if err := db.Put([]byte("key 007"), []byte("lost"), Deferred); err != nil {
					t.Fatal(err)
				}
				if n := db.flusher.Pages.Dirty(); n != 0 {
					t.Fatalf("%d pages are dirty: there was a trap", n)
				}
			}
			wantAuditStops(t, db)
		})
	}
}

// TestClosedDescriptorLosesNothing closes the userfaultfd, and writes. With Prepare
// the write itself must find out and stop the store. By the trap alone it is made in
// a page that nobody knows to be changed: the next round must then find out, before
// it trims the log, and Open must bring the write back from there.
func TestClosedDescriptorLosesNothing(t *testing.T) {
	for _, trapOnly := range []bool{false, true} {
		t.Run(fmt.Sprintf("traponly=%t", trapOnly), func(t *testing.T) {
			db, fd := openProtected(t, Options{TrapOnly: trapOnly, CheckpointEvery: -1})
			closeUnder(t, fd)
			err := db.Put([]byte("key 007"), []byte("kept"), Sync)
			if trapOnly && err == nil {
				err = db.Checkpoint(t.Context())
			}
			if !errors.Is(err, ErrStopped) {
				t.Fatalf("without protection: %v, want %v", err, ErrStopped)
			}
			_ = db.Close()
			again, err := Open(db.dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			got, err := again.Get([]byte("key 007"))
			if err != nil || trapOnly != (string(got) == "kept") {
				t.Errorf("after reopening: %.10q, %v", got, err)
			}
		})
	}
}

// closeUnder closes the descriptor fd of a store, and keeps its number in use.
func closeUnder(t *testing.T, fd int) {
	t.Helper()
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	if err := unix.Dup3(null, fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}

// TestMerged has the kernel merge pages of an open store with others that have the
// same bytes (KSM), as prctl(PR_SET_MEMORY_MERGE) of a parent process could: a
// merged page has lost its protection. The audit must find that out, before any
// store to it. Needs root, for /sys/kernel/mm/ksm; TestAudit of pagemeta does by
// hand what KSM does.
func TestMerged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("KSM is switched on by root")
	}
	if _, err := os.Stat("/sys/kernel/mm/ksm/run"); err != nil {
		t.Skip(err) // a kernel without KSM merges nothing
	}
	db, _ := openProtected(t, Options{CheckpointEvery: -1})
	const pages = 8
	leaves := unsafe.Slice((*byte)(unsafe.Pointer(db.flusher.Pages.Page(2))), pages*pagemeta.PageBytes)
	twins, err := unix.Mmap(-1, 0, len(leaves), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(twins)
	copy(twins, leaves) // which are in memory: nothing is ever dropped
	for _, mem := range [][]byte{twins, leaves} {
		if err := unix.Madvise(mem, unix.MADV_MERGEABLE); err != nil {
			t.Fatal(err)
		}
	}
	mergeUntil(t, 2*pages) // both of each pair
	wantAuditStops(t, db)
}

// mergeUntil lets KSM run until it has merged so many pages of this process.
func mergeUntil(t *testing.T, pages int) {
	t.Helper()
	set := func(name, value string) {
		path := filepath.Join("/sys/kernel/mm/ksm", name)
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.WriteFile(path, was, 0); err != nil {
				t.Error(err)
			}
		})
	}
	set("pages_to_scan", "10000")
	set("sleep_millisecs", "1")
	set("run", "1")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile("/proc/self/ksm_merging_pages")
		if err != nil {
			t.Skip(err) // Linux 5.19
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if n >= pages {
			t.Logf("%d pages merged", n)
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("KSM has merged nothing in a minute")
		}
	}
}
