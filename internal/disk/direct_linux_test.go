package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// block returns n bytes that begin at a multiple of DirectBytes.
func block(t testing.TB, n int) []byte {
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	must(t, err)
	t.Cleanup(func() { must(t, unix.Munmap(mem)) })
	return mem
}

// numbered makes a file of blocks, each of which begins with its number, and opens
// it for direct access.
func numbered(t testing.TB, blocks int) (f *directFile, name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "file")
	contents := make([]byte, blocks*DirectBytes)
	for i := range blocks {
		binary.LittleEndian.PutUint64(contents[i*DirectBytes:], uint64(i))
	}
	must(t, os.WriteFile(name, contents, 0o600))
	plain, err := OS.OpenRead(name)
	must(t, err)
	opened, err := Direct(plain)
	must(t, err)
	f, ok := opened.(*directFile)
	if !ok {
		must(t, opened.Close())
		t.Skip("no O_DIRECT in the directory for temporary files")
	}
	return f, name
}

func wantBlock(t *testing.T, mem []byte, want int) {
	t.Helper()
	if got := binary.LittleEndian.Uint64(mem); got != uint64(want) {
		t.Errorf("read block %d, want %d", got, want)
	}
}

// TestDirectRefuses shows that the access is direct indeed: the kernel refuses
// memory that is not aligned, and says of which file.
func TestDirectRefuses(t *testing.T) {
	f, name := numbered(t, 4)
	defer f.Close()
	var st unix.Statx_t
	if unix.Statx(f.fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st) != nil || st.Dio_offset_align < 2 {
		t.Skip("the file system has no alignment")
	}
	_, err := f.ReadAt(block(t, DirectBytes)[1:], 1)
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), name) {
		t.Errorf("read that is not aligned: %v, want EINVAL and %s", err, name)
	}
}

// TestConcurrentReads has many goroutines read, so that most reads go through the
// queue, more than it holds: each must get its own blocks. Close must end the reaper.
func TestConcurrentReads(t *testing.T) {
	const blocks, readers = 64, queueDepth + 40
	f, _ := numbered(t, blocks)
	if !f.queue.start() {
		t.Skip("no AIO")
	}
	var wg sync.WaitGroup
	for g := range readers {
		mem := block(t, 4*DirectBytes)
		wg.Go(func() {
			for range 50 {
				if g%4 == 0 {
					readSome(t, f, mem)
					continue
				}
				i := rand.IntN(blocks)
				if _, err := f.ReadAt(mem[:DirectBytes], int64(i)*DirectBytes); err != nil {
					t.Error(err)
				}
				wantBlock(t, mem, i)
			}
		})
	}
	wg.Wait()
	must(t, f.Close())
	select {
	case <-f.queue.ended:
	default:
		t.Error("the reaper has not ended")
	}
}

// readSome reads four blocks at once.
func readSome(t *testing.T, f *directFile, mem []byte) {
	reads := make([]Access, 4)
	for i := range reads {
		reads[i] = Access{Mem: mem[i*DirectBytes : (i+1)*DirectBytes], Off: rand.Int64N(64) * DirectBytes}
	}
	next := 0
	f.ReadMany(reads, func(i int) {
		if i != next {
			t.Errorf("read %d ended, want %d", i, next)
		}
		next++
	})
	if next != len(reads) {
		t.Errorf("%d reads ended, want %d", next, len(reads))
	}
	for _, r := range reads {
		if r.Err != nil {
			t.Error(r.Err)
		}
		wantBlock(t, r.Mem, int(r.Off/DirectBytes))
	}
}

// TestReadMany reads blocks of a file that ends inside one, more than are under way
// at a time, and from behind its end, with a queue and without.
func TestReadMany(t *testing.T) {
	const blocks = 3 * manyDepth
	for _, queued := range []bool{true, false} {
		f, name := numbered(t, blocks)
		must(t, os.Truncate(name, blocks*DirectBytes-100))
		if !queued {
			must(t, f.queue.close())
		} else if !f.queue.start() {
			t.Skip("no AIO")
		}
		mem := block(t, (blocks+1)*DirectBytes)
		var reads []Access
		for i := range blocks + 1 {
			reads = append(reads, Access{mem[i*DirectBytes : (i+1)*DirectBytes], int64(i) * DirectBytes, io.ErrNoProgress})
		}
		ReadMany(f, reads, func(int) {})
		for i, r := range reads {
			switch {
			case i < blocks-1 && r.Err != nil:
				t.Errorf("block %d: %v", i, r.Err)
			case i < blocks-1:
				wantBlock(t, r.Mem, i)
			case r.Err != io.EOF:
				t.Errorf("block %d, behind the end: %v, want EOF", i, r.Err)
			}
		}
		if f.queue.ready.Load() != queued {
			t.Errorf("queue: %t, want %t", !queued, queued)
		}
		must(t, f.Close())
	}
}

// TestReadError has the kernel fail reads in the queue: the error is that of pread,
// with the name of the file.
func TestReadError(t *testing.T) {
	f, name := numbered(t, 4)
	defer f.Close()
	bad := block(t, DirectBytes)
	must(t, unix.Mprotect(bad, unix.PROT_NONE))
	f.queue.reading.Add(f.queue.threads) // others read, too
	_, err := f.ReadAt(bad, 0)
	var path *fs.PathError
	if !errors.As(err, &path) || path.Path != name || !errors.Is(err, unix.EFAULT) {
		t.Errorf("read: %v, want EFAULT of %s", err, name)
	}
}

// TestDirectWrites writes past the cache and reads through it, and the other way
// round.
func TestDirectWrites(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	plain, err := OS.Open(name, true)
	must(t, err)
	defer plain.Close()
	second, err := OS.Open(name, false)
	must(t, err)
	direct, err := Direct(second)
	must(t, err)
	defer direct.Close()
	must(t, direct.Allocate(16*DirectBytes))
	mem, got := block(t, DirectBytes), make([]byte, DirectBytes)
	for i := range 16 {
		mem[0] = byte(i + 1)
		off := int64(i) * DirectBytes
		from, to := direct, plain
		if i%2 == 0 {
			from, to = plain, direct
		}
		if _, err := from.WriteAt(mem, off); err != nil {
			t.Fatal(err)
		}
		into := got
		if i%2 == 0 {
			into = block(t, DirectBytes)
		}
		if _, err := to.ReadAt(into, off); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(into, mem) {
			t.Errorf("block %d: read %d, want %d", i, into[0], i+1)
		}
	}
	must(t, SyncAndEvict(direct))
}

// wantFree tells whether all slots are free.
func wantFree(t *testing.T, q *queue) {
	t.Helper()
	if len(q.single) != queueDepth || len(q.batch) != queueDepth {
		t.Errorf("%d and %d slots are free, want %d of each", len(q.single), len(q.batch), queueDepth)
	}
}

// TestRefused has the kernel take some accesses of a batch and refuse others, in the
// first place, in the middle, and at the end: each ends by itself, and the slots are free
// again.
func TestRefused(t *testing.T) {
	const blocks = 8
	f, _ := numbered(t, blocks)
	defer f.Close()
	if !f.queue.start() {
		t.Skip("no AIO")
	}
	refused := map[int]bool{0: true, 3: true, 4: true, blocks - 1: true}
	mem := block(t, blocks*DirectBytes)
	var slots []*slot
	var list []*iocb
	for i := range blocks {
		s, fd := f.queue.take(true), f.fd
		if refused[i] {
			fd = -1
		}
		slots = append(slots, s)
		list = append(list, f.queue.prepare(s, fd, iocbPread, mem[i*DirectBytes:(i+1)*DirectBytes], int64(i)*DirectBytes))
	}
	f.queue.submit(list)
	for i, s := range slots {
		if got := f.queue.finish(s); got == refused[i] {
			t.Errorf("block %d: made: %t, want %t", i, got, !refused[i])
		} else if got {
			wantBlock(t, mem[i*DirectBytes:], i)
		}
	}
	wantFree(t, &f.queue)
}

// TestManyRefused has the kernel refuse every access, which then is made without the
// queue, and has a queue with one free slot.
func TestManyRefused(t *testing.T) {
	const blocks = 3 * manyDepth
	f, _ := numbered(t, blocks)
	defer f.Close()
	if !f.queue.start() {
		t.Skip("no AIO")
	}
	mem := block(t, blocks*DirectBytes)
	read := func(what string, alone int) {
		var reads []Access
		for i := range blocks {
			reads = append(reads, Access{mem[i*DirectBytes : (i+1)*DirectBytes], int64(i) * DirectBytes, io.ErrNoProgress})
		}
		got := 0
		pread := func(p []byte, off int64) (int, error) { got++; return f.pread(p, off) }
		next := 0
		f.queue.many(f.fd, iocbPread, reads, pread, func(i int) {
			if i != next || reads[i].Err != nil {
				t.Errorf("%s: read %d, want %d: %v", what, i, next, reads[i].Err)
			}
			wantBlock(t, reads[i].Mem, i)
			next++
		})
		if next != blocks || got != alone {
			t.Errorf("%s: %d reads, %d of them alone, want %d and %d", what, next, got, blocks, alone)
		}
		clear(mem)
	}
	read("all is well", 0)
	event := f.queue.eventFD
	f.queue.eventFD = ^uint32(0)
	read("all refused", blocks)
	f.queue.eventFD = event
	var held []*slot // one is left
	for len(f.queue.batch) > 1 {
		held = append(held, f.queue.take(true))
	}
	read("one slot", 0)
	for _, s := range held {
		f.queue.release(s)
	}
	wantFree(t, &f.queue)
}

// TestReadInMany has calls of ReadMany take all slots that there are for them, and then
// read a block alone for each that has ended. They must come to an end.
func TestReadInMany(t *testing.T) {
	const blocks, readers = 2 * manyDepth, queueDepth / manyDepth
	f, _ := numbered(t, blocks)
	defer f.Close()
	if !f.queue.start() {
		t.Skip("no AIO")
	}
	f.queue.reading.Add(f.queue.threads) // others read, too: each goes through the queue
	var wg, all sync.WaitGroup
	all.Add(readers)
	for range readers {
		mem := block(t, (blocks+1)*DirectBytes)
		one := mem[blocks*DirectBytes:]
		wg.Go(func() {
			var reads []Access
			for i := range blocks {
				reads = append(reads, Access{Mem: mem[i*DirectBytes : (i+1)*DirectBytes], Off: int64(i) * DirectBytes})
			}
			f.ReadMany(reads, func(i int) {
				if i == 0 {
					all.Done()
					all.Wait()
				}
				if _, err := f.ReadAt(one, reads[i].Off); err != nil || reads[i].Err != nil {
					t.Error(err, reads[i].Err)
				}
				wantBlock(t, reads[i].Mem, i)
				wantBlock(t, one, i)
			})
		})
	}
	wg.Wait()
	wantFree(t, &f.queue)
}
