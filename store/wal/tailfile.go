package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/debug"

	"faultline/internal/disk"
)

// The tail file is the memory that Append copies into: the two buffers are its
// halves, mapped shared. So a record is in the kernel, and survives the process,
// as soon as it is copied, and Write has nothing to do; the segments get it with
// the next sync or when the half is full, in one call for thousands.
//
//	segments   ----------------------- x
//	half 0               [ records from y on         ]
//	half 1     [ records from x on to y ]
//
// Each half begins with a record. When the process dies the halves hold what the
// segments may lack. Replay comes to the end of the segments, x, looks in both
// halves for a record with that lsn, takes what follows it there, and again from
// where that ends. All this goes into the segments, durably, before any of it is
// handed out; then the tail file is zeroed, durably, before anything is appended:
// old bytes in it could else become a part of the log again, as in a segment that
// was cut (see the package comment).
//
// After a power cut the file has some of its sectors, of which Replay takes what
// the segments lack and the crc allows: records that were never acknowledged as
// durable, in order and without a gap.
//
// A mark in the tail file that says that the log was durable beyond where it ends
// now, the tail file's records included, proves damage as one behind x does: of a
// kill the newest group and its mark are here, whatever the segments have lost.
//
// A file system without mappings has no tail file; buffers are then of the heap,
// and Write is a pwrite.
const tailName = "tail"

type tailFile struct {
	path string
	file disk.File
	mem  []byte // both halves
}

// open makes or clears the tail file and maps it. What it held is in the
// segments.
func (s *tailFile) open(o *Options) (err error) {
	s.path = filepath.Join(o.Dir, tailName)
	size := int64(2*o.BufferBytes+4095) &^ 4095
	f, err := o.FS.Open(s.path, true)
	if err != nil {
		return err
	}
	mapper, ok := f.(disk.Mapper)
	if !ok {
		return errors.Join(f.Close(), o.FS.Remove(s.path), o.FS.SyncDir(o.Dir))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	have, err := f.Size()
	if err != nil {
		return err
	}
	if have > size {
		if err := f.Truncate(size); err != nil {
			return err
		}
	}
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := o.FS.SyncDir(o.Dir); err != nil {
		return err
	}
	mem, err := mapper.Map(int(size))
	if err != nil {
		return err
	}
	s.file, s.mem = f, mem
	return nil
}

// half returns half i, empty.
func (s *tailFile) half(i int) []byte {
	n := len(s.mem) / 2
	return s.mem[i*n : i*n : (i+1)*n]
}

// has tells whether buf, which is not empty, is in the tail file. A buffer that
// has outgrown its half is not.
func (s *tailFile) has(buf []byte) bool {
	n := len(s.mem) / 2
	return n > 0 && (&buf[0] == &s.mem[0] || &buf[0] == &s.mem[n])
}

// putShared is putRecord into the tail file. A mapping has no error but a trap:
// that the page could not be read back from the disk, which is rare even where
// it could not be locked in memory.
func putShared(dst []byte, lsn LSN, kind Kind, crc uint32, payload []byte) (err error) {
	defer caught(&err, debug.SetPanicOnFault(true))
	putRecord(dst, lsn, kind, crc, payload)
	return nil
}

func caught(err *error, armed bool) {
	r := recover()
	debug.SetPanicOnFault(armed)
	if r == nil {
		return
	}
	if _, ok := r.(interface{ Addr() uintptr }); !ok {
		panic(r)
	}
	*err = fmt.Errorf("store to a mapped page: %v", r)
}

func (s *tailFile) close() error {
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.(disk.Mapper).Unmap(s.mem), s.file.Close())
}

// readTail returns the records from lsn on that the tail file has, and the
// newest LSN that a mark in it says was durable.
func (l *Log) readTail(lsn LSN) (tail []byte, durable LSN, err error) {
	f, err := l.o.FS.OpenRead(filepath.Join(l.o.Dir, tailName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, 0, err
	}
	mem := make([]byte, min(size, maxTail)&^(2*recordAlign-1))
	if err := readFull(f, mem, 0); err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", tailName, err)
	}
	halves := [2][]byte{mem[:len(mem)/2], mem[len(mem)/2:]}
	for range halves { // the second of two may lie in the first half
		for _, half := range halves {
			tail = append(tail, l.recordsFrom(half, lsn+LSN(len(tail)))...)
		}
	}
	return tail, l.newestMark(mem), nil
}

// newestMark returns the newest LSN that a mark in mem says was durable. What a mark
// says stays true, so those of an earlier use of a half count too.
func (l *Log) newestMark(mem []byte) (durable LSN) {
	for ; len(mem) >= markBytes; mem = mem[recordAlign:] {
		if Kind(mem[kindAt]) != KindMark {
			continue // nearly always, and quick: this is a MiB, for the most part zeros
		}
		at := lsnOf(mem[lsnAt:])
		if d, ok := parseMark(mem, at, l.o.Salt); ok && d <= at {
			durable = max(durable, d)
		}
	}
	return durable
}

// maxTail bounds what of a tail file is read: more than BufferBytes can be.
const maxTail = 1 << 30

// recordsFrom returns the records of half from lsn on, without a gap.
func (l *Log) recordsFrom(half []byte, lsn LSN) []byte {
	from, to := -1, 0
	for to+payloadAt <= len(half) {
		at := lsnOf(half[to+lsnAt:])
		_, _, size, invalid := parseWhole(half[to:], at, uint64(len(half)-to), l.o.Salt)
		if invalid != nil {
			break
		}
		if at == lsn {
			from = to
		}
		to += size
		if to+payloadAt <= len(half) && lsnOf(half[to+lsnAt:]) != at+LSN(size) {
			break // of an earlier use of the half
		}
	}
	if from < 0 {
		return nil
	}
	return half[from:to]
}

func lsnOf(b []byte) LSN { return LSN(binary.LittleEndian.Uint64(b)) }
