package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"faultline/internal/disk"
)

const (
	segmentSuffix = ".log" // after the number, 16 hexadecimal digits
	tempSuffix    = ".tmp" // of a segment that is not whole: Open removes it
)

// zeros is what new segments, and the rest of a cut one, are written with. One
// write makes one folio of the page cache as large as it can be, and ext4 walks
// all blocks of the folio in each later write to it: a pwrite of 176 bytes takes
// 0.4 us after writes of 16 KiB, 0.9 us of 256 KiB and 5 us of 16 MiB. Smaller
// ones only make the zeroing slower.
var zeros [16 << 10]byte

// segments is the set of files that hold the log. Segment k is the bytes from
// k*size on, under the name of k. They are in this order:
//
//	spares, trimmed     live: first ... next-1       next: not made
//
// A spare keeps its old name until it is renamed to next, so that there is no
// instant at which it has none, and a crash finds it again.
type segments struct {
	fs       disk.FS
	dir      string
	size     uint64
	readOnly bool
	keep     int // most spares

	// making is held while files are made, renamed or removed. It comes before
	// mu. The writer and the syncer, who need only open files, do not take it.
	making sync.Mutex
	broken error    // guarded by making: a name may not be durable, final
	spares []uint64 // guarded by making: ascending

	mu struct {
		sync.Mutex
		first, next uint64
		files       map[uint64]disk.File // the open ones among the live
		recycled    int64
	}

	end atomic.Uint64 // of the segments that are made: next*size
}

// open lists the directory, removes what was being made, and checks lengths:
// a segment gets its name when it is whole.
func (s *segments) open(o *Options) error {
	s.fs, s.dir, s.size = o.FS, o.Dir, uint64(o.SegmentBytes)
	s.readOnly, s.keep = o.ReadOnly, o.Spares
	s.mu.files = map[uint64]disk.File{}

	names, err := s.fs.List(s.dir)
	if err != nil && !(s.readOnly && errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, tempSuffix) && !s.readOnly {
			if err := s.fs.Remove(filepath.Join(s.dir, name)); err != nil {
				return err
			}
		}
		if k, ok := parseName(name); ok {
			if k >= math.MaxInt64/s.size {
				return &disk.CorruptError{File: s.path(k), Offset: 0, Err: errors.New("segment number out of range")}
			}
			if err := s.checkSize(k); err != nil {
				return err
			}
			s.spares = append(s.spares, k)
		}
	}
	sort.Slice(s.spares, func(i, j int) bool { return s.spares[i] < s.spares[j] })
	return nil
}

func (s *segments) checkSize(k uint64) error {
	f, err := s.fs.OpenRead(s.path(k))
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	if uint64(size) != s.size {
		return &disk.CorruptError{File: s.path(k), Offset: size, Err: fmt.Errorf("segment of %d bytes, want %d", size, s.size)}
	}
	return nil
}

// filesEnd returns where the last of the segments ends that open has found. It is for
// the time before split.
func (s *segments) filesEnd() uint64 {
	s.making.Lock()
	defer s.making.Unlock()
	if len(s.spares) == 0 {
		return 0
	}
	return (s.spares[len(s.spares)-1] + 1) * s.size
}

// split makes the segments from first on live; they must have no gap. The ones
// before it stay spares.
func (s *segments) split(first uint64) error {
	s.making.Lock()
	defer s.making.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := sort.Search(len(s.spares), func(i int) bool { return s.spares[i] >= first })
	s.mu.first, s.mu.next = first, first
	for _, k := range s.spares[n:] {
		if k != s.mu.next {
			return &disk.CorruptError{File: s.path(s.mu.next), Offset: 0, Err: fmt.Errorf("segment missing, but %s is there", s.path(k))}
		}
		s.mu.next++
	}
	s.end.Store(s.mu.next * s.size)
	s.spares = s.spares[:n:n]
	return nil
}

// span returns the numbers of the first live segment and of the one after the
// last.
func (s *segments) span() (first, next uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.first, s.mu.next
}

// file returns live segment k, open. If k is the next one and the helper has
// not made it, file does.
func (s *segments) file(k uint64) (disk.File, error) {
	s.mu.Lock()
	f := s.mu.files[k]
	s.mu.Unlock()
	if f != nil {
		return f, nil
	}
	if err := s.ready(k); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.mu.files[k]; f != nil {
		return f, nil
	}
	f, err := s.fs.Open(s.path(k), false)
	if err != nil {
		return nil, err
	}
	s.mu.files[k] = f
	return f, nil
}

// ready makes segments up to k, if they are not there. When it returns nil their
// names are durable.
func (s *segments) ready(k uint64) error {
	s.making.Lock()
	defer s.making.Unlock()
	for {
		if s.broken != nil {
			return s.broken
		}
		_, next := s.span()
		if next > k {
			return nil
		}
		recycled, err := s.make(next)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.mu.next++
		s.end.Store(s.mu.next * s.size)
		if recycled {
			s.mu.recycled++
		}
		s.mu.Unlock()
	}
}

// isBroken tells whether no segment can be made any more.
func (s *segments) isBroken() bool {
	s.making.Lock()
	defer s.making.Unlock()
	return s.broken != nil
}

// make gives segment k its name: to the oldest spare, or to a new file. An error
// before the rename leaves nothing behind, and so does a full disk that refuses it;
// any other is final, for a name whose sync has failed must not be relied on. making
// is held.
func (s *segments) make(k uint64) (recycled bool, err error) {
	from := strings.TrimSuffix(s.path(k), segmentSuffix) + tempSuffix
	if recycled = len(s.spares) > 0; recycled {
		from = s.path(s.spares[0])
	} else if err := s.fill(from); err != nil {
		s.fs.Remove(from) // if this fails too, Open does it
		return false, err
	}
	err = s.fs.Rename(from, s.path(k))
	if disk.Full(err) {
		if !recycled {
			s.fs.Remove(from)
		}
		return false, err
	}
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		s.broken = err
		return false, err
	}
	if recycled {
		s.spares = s.spares[1:]
	}
	return recycled, nil
}

// fill makes a file of zeros. They are written, not only allocated, so that no
// later fdatasync has an extent to convert.
func (s *segments) fill(name string) (err error) {
	f, err := s.fs.Open(name, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Allocate(int64(s.size)); err != nil {
		return err
	}
	for at := uint64(0); at < s.size; at += uint64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(uint64(len(zeros)), s.size-at)], int64(at)); err != nil {
			return err
		}
	}
	return f.Sync()
}

// trim makes spares of the live segments below k, and removes what is then too
// much. It waits for a segment that is being made.
func (s *segments) trim(k uint64) error {
	s.making.Lock()
	defer s.making.Unlock()
	s.mu.Lock()
	var err error
	for ; s.mu.first < min(k, s.mu.next); s.mu.first++ {
		err = errors.Join(err, s.forget(s.mu.first))
		s.spares = append(s.spares, s.mu.first)
	}
	s.mu.Unlock()
	for len(s.spares) > s.keep && err == nil {
		if err = s.fs.Remove(s.path(s.spares[0])); err == nil {
			s.spares = s.spares[1:]
		}
	}
	return err
}

// settle closes the files below k: they are durable, and not written again.
func (s *segments) settle(k uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for i := range s.mu.files {
		if i < k {
			err = errors.Join(err, s.forget(i))
		}
	}
	return err
}

// forget closes segment k, if it is open. mu is held.
func (s *segments) forget(k uint64) error {
	f := s.mu.files[k]
	if f == nil {
		return nil
	}
	delete(s.mu.files, k)
	return f.Close()
}

// cut makes the log end at lsn, durably: nothing that lies behind it can become
// a part of the log again. The segments after that of lsn go from the last one
// down, each before the next, so that no crash leaves a gap.
func (s *segments) cut(lsn LSN) error {
	s.making.Lock()
	defer s.making.Unlock()
	k := s.number(lsn)
	_, next := s.span()
	// A cut before this one may have been killed: what it has removed is not to be
	// found, and may be back after a power cut, behind what is removed now.
	if next > k+1 {
		if err := s.fs.SyncDir(s.dir); err != nil {
			return err
		}
	}
	for ; next > k+1; next-- {
		if err := s.fs.Remove(s.path(next - 1)); err != nil {
			return err
		}
		if err := s.fs.SyncDir(s.dir); err != nil {
			return err
		}
	}
	if next == k+1 {
		if err := s.clear(k, s.offset(lsn)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.mu.next = next
	s.end.Store(next * s.size)
	s.mu.Unlock()
	// A name that was found may be of a rename that is not durable.
	return s.fs.SyncDir(s.dir)
}

// clear zeroes segment k from offset at on, durably. What is zero is not written.
func (s *segments) clear(k uint64, at int64) (err error) {
	f, err := s.fs.Open(s.path(k), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, min(uint64(len(zeros)), s.size))
	wrote := false
	for at < int64(s.size) {
		b := buf[:min(int64(len(buf)), int64(s.size)-at)]
		if err := readFull(f, b, at); err != nil {
			return err
		}
		if !allZero(b) {
			if _, err := f.WriteAt(zeros[:len(b)], at); err != nil {
				return err
			}
			wrote = true
		}
		at += int64(len(b))
	}
	if wrote {
		return f.Sync()
	}
	return nil
}

func (s *segments) count() (live int, recycled int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.mu.next - s.mu.first), s.mu.recycled
}

// close closes the files. Nobody may use them any more.
func (s *segments) close() error { return s.settle(^uint64(0)) }

// number returns the segment that byte lsn is in.
func (s *segments) number(lsn LSN) uint64 { return uint64(lsn) / s.size }

// offset returns where byte lsn is in its segment.
func (s *segments) offset(lsn LSN) int64 { return int64(uint64(lsn) % s.size) }

func (s *segments) path(k uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016x%s", k, segmentSuffix))
}

// parseName returns the number in a segment's name.
func parseName(name string) (k uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 || digits != strings.ToLower(digits) {
		return 0, false
	}
	k, err := strconv.ParseUint(digits, 16, 64)
	return k, err == nil
}

// readFull reads all of b at off. A file that ends before is an error: segments
// have their whole length.
func readFull(f disk.File, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func allZero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if string(b[:n]) != string(zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}
