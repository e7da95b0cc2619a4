package ltm

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// shareCounters makes the memory for the counters of children, as a file to hand
// on to them. It is no file of the disk: writing dirty pages back would stop the
// clients.
func shareCounters() (f *os.File, counters []counter, err error) {
	fd, err := unix.MemfdCreate("kvbench-counters", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, fmt.Errorf("memfd_create: %w", err)
	}
	f = os.NewFile(uintptr(fd), "kvbench-counters")
	if err := f.Truncate(int64(countersBytes)); err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	counters, err = mapCounters(fd)
	return f, counters, err
}

// inheritCounters maps what shareCounters has made in the parent.
func inheritCounters() ([]counter, error) { return mapCounters(countersFD) }

func mapCounters(fd int) ([]counter, error) {
	memory, err := unix.Mmap(fd, 0, countersBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return countersIn(memory), nil
}

// evict writes the files of a store to the disk and takes them out of the page
// cache, so that the next child pays for what it reads. It returns what the
// kernel kept all the same, or -1 where it does not tell.
func evict(dir string) (cached int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n, err := evictFile(path)
		if n < 0 || cached < 0 {
			cached = -1
		} else {
			cached += n
		}
		return err
	})
	return cached, err
}

func evictFile(path string) (cached int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return 0, err
	}
	fd := int(f.Fd())
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
		return 0, fmt.Errorf("fadvise %s: %w", path, err)
	}
	var stat unix.Cachestat_t
	if err := unix.Cachestat(uint(fd), &unix.CachestatRange{}, &stat, 0); err != nil {
		return -1, nil // before Linux 6.5
	}
	return int64(stat.Cache) * int64(os.Getpagesize()), nil
}
