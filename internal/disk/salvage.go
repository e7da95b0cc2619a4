package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// A ReadError says which bytes could not be read. It wraps the error of the read.
type ReadError struct {
	File   string // path, as it was opened
	Offset int64  // bytes from the start of File
	Err    error  // of the system call
}

func (e *ReadError) Error() string {
	return fmt.Sprintf("read %s at byte %d: %v", e.File, e.Offset, e.Err)
}

func (e *ReadError) Unwrap() error { return e.Err }

// Unreadable returns a ReadError for err, of a read of file at off.
func Unreadable(file string, off int64, err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		err = p.Err // it has the path, and no offset
	}
	return &ReadError{File: file, Offset: off, Err: err}
}

// salvageBytes is the piece that a bad sector costs.
const salvageBytes = 4096

// Salvage is ReadAt for who wants all that can still be read. Where a read fails
// it goes on in pieces of 4 KiB: it leaves zeros for those that fail, and tells
// bad of each. It returns how many bytes there are before the end of the file.
func Salvage(f File, p []byte, off int64, bad func(off int64, err error)) int {
	n, err := f.ReadAt(p, off)
	if err == nil || errors.Is(err, io.EOF) {
		return n
	}
	for at := 0; at < len(p); at += salvageBytes {
		piece := p[at:min(at+salvageBytes, len(p))]
		n, err := f.ReadAt(piece, off+int64(at))
		if errors.Is(err, io.EOF) {
			return at + n
		}
		if err != nil {
			clear(piece)
			bad(off+int64(at), err)
		}
	}
	return len(p)
}
