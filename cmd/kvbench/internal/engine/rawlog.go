package engine

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// rawLog is no store. It does what a store that syncs its writes cannot do
// without: the clients that wait form a group, whose records are written to a file
// and synced together. What it does in a second is the most that a log can do on
// this file system, with the same bytes and in groups as large.
type rawLog struct{}

func (rawLog) Name() string        { return "rawlog" }
func (rawLog) Version() string     { return "1" }
func (rawLog) OffHeapBytes() int64 { return 0 }
func (rawLog) Survives() bool      { return true }

func (rawLog) Settings() []string {
	return []string{
		"no store: records are appended to a file and can not be read; the bound of what a log can do here",
		"synced: who comes first writes and syncs (pwrite, fdatasync) the records of all that wait; the file has its blocks beforehand and is used again from its beginning",
	}
}

const (
	rawLogBytes = 64 << 20 // of the file

	// rawLogChunk is how much is written at once beforehand. A piece becomes one folio
	// of the page cache, and writing to a large one is dearer.
	rawLogChunk = 16 << 10

	// rawLogHeader is as many bytes as a log needs to find its end: length, crc,
	// number, and two lengths.
	rawLogHeader = 4 + 4 + 8 + 2 + 2
)

func (rawLog) Open(dir string, m Mode) (DB, error) {
	if !m.Sync {
		return nil, cannot("has synced writes only")
	}
	f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	l := &rawLogDB{file: f}
	l.written.L = &l.mu
	zeros := make([]byte, rawLogChunk)
	for at := int64(0); at < rawLogBytes; at += rawLogChunk {
		if _, err := f.WriteAt(zeros, at); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return l, nil
}

// A rawLogDB numbers its groups from 1.
type rawLogDB struct {
	file *os.File
	at   int64 // of the next group, used by who writes
	puts atomic.Int64

	mu      sync.Mutex
	written sync.Cond
	group   []byte // the records that wait
	spare   []byte // for the next group
	number  uint64 // of the groups that were taken to be written
	done    uint64 // the newest group on disk
	writing bool
	err     error // the first one; it is final
}

func (l *rawLogDB) Put(key, value []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.group = appendRecord(l.group, key, value)
	mine := l.number + 1
	for l.writing && l.done < mine {
		l.written.Wait()
	}
	if l.done < mine {
		l.writeGroup()
	}
	if l.err == nil {
		l.puts.Add(1)
	}
	return l.err
}

func appendRecord(b, key, value []byte) []byte {
	var header [rawLogHeader]byte
	binary.LittleEndian.PutUint32(header[:], uint32(rawLogHeader+len(key)+len(value)))
	return append(append(append(b, header[:]...), key...), value...)
}

// writeGroup takes the records that wait to the disk. The lock is held before and
// after, and not while they are written.
func (l *rawLogDB) writeGroup() {
	b := l.group
	l.group, l.spare = l.spare[:0], nil
	l.number++
	l.writing = true
	l.mu.Unlock()
	err := l.write(b)
	l.mu.Lock()
	l.writing, l.done, l.spare = false, l.number, b
	if l.err == nil {
		l.err = err
	}
	l.written.Broadcast()
}

func (l *rawLogDB) write(b []byte) error {
	if l.at+int64(len(b)) > rawLogBytes {
		l.at = 0
	}
	_, err := l.file.WriteAt(b, l.at)
	l.at += int64(len(b))
	if err != nil {
		return err
	}
	return datasync(l.file)
}

var errOnlyPuts = cannot("can only put single keys")

func (l *rawLogDB) Delete([]byte) error { return errOnlyPuts }
func (l *rawLogDB) NewBatch() Batch     { return onlyPuts{} }
func (l *rawLogDB) NewReader() Reader   { return onlyPuts{} }

func (l *rawLogDB) NewIterator() (Iterator, error) { return nil, errOnlyPuts }
func (l *rawLogDB) Settle(_ context.Context) error { return nil }
func (l *rawLogDB) Len() (int, error)              { return int(l.puts.Load()), nil }
func (l *rawLogDB) Close() error                   { return l.file.Close() }

// onlyPuts is a Batch and a Reader that do nothing.
type onlyPuts struct{}

func (onlyPuts) Put(_, _ []byte) error    { return errOnlyPuts }
func (onlyPuts) Commit() error            { return errOnlyPuts }
func (onlyPuts) Get([]byte) (bool, error) { return false, errOnlyPuts }
