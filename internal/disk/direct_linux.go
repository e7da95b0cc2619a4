package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// A directFile is read and written past the cache. Nothing may be under way when
// it is closed.
type directFile struct {
	osFile
	fd    int
	queue queue
}

// Direct is of Director. The file keeps the mode that it was opened with: O_DIRECT
// is one of the flags that can be set later.
func (f osFile) Direct() (File, error) {
	fd := int(f.Fd())
	able, err := aligned(fd)
	if err != nil {
		return nil, &fs.PathError{Op: "statx", Path: f.Name(), Err: err}
	}
	if !able {
		return f, nil
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_DIRECT)
	}
	if err == unix.EINVAL {
		return f, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "fcntl O_DIRECT", Path: f.Name(), Err: err}
	}
	direct := &directFile{osFile: f, fd: fd}
	direct.queue.init()
	return direct, nil
}

// aligned tells whether multiples of DirectBytes are good enough for the file
// system of fd. One that does not say is taken to be: no disk that it could be
// on has larger sectors.
func aligned(fd int) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if errors.Is(err, errors.ErrUnsupported) {
		return true, nil
	}
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 {
		return true, err
	}
	fits := func(align uint32) bool { return align != 0 && DirectBytes%align == 0 }
	return fits(st.Dio_mem_align) && fits(st.Dio_offset_align), nil
}

// ReadAt reads in the calling thread while few others read, and through the queue
// when more do.
func (f *directFile) ReadAt(p []byte, off int64) (int, error) {
	defer f.queue.leave()
	if f.queue.enter() && f.queue.one(f.fd, iocbPread, p, off) {
		return len(p), nil
	}
	return f.pread(p, off)
}

// pread reads in the calling thread. A file may end inside a block: what is behind
// that cannot be asked for.
func (f *directFile) pread(p []byte, off int64) (int, error) {
	n, err := f.osFile.ReadAt(p, off)
	if n%DirectBytes != 0 && errors.Is(err, unix.EINVAL) {
		err = io.EOF
	}
	return n, err
}

// ReadMany is of Batcher.
func (f *directFile) ReadMany(reads []Access, ended func(i int)) {
	f.queue.many(f.fd, iocbPread, reads, f.pread, ended)
}

// WriteMany is of Batcher. A write that the queue could not make is made again,
// as a whole: what the first try has left of it is overwritten.
func (f *directFile) WriteMany(writes []Access) {
	f.queue.many(f.fd, iocbPwrite, writes, f.WriteAt, func(int) {})
}

func (f *directFile) Close() error {
	if err := f.queue.close(); err != nil {
		return errors.Join(fmt.Errorf("close %s: %w", f.Name(), err), f.osFile.Close())
	}
	return f.osFile.Close()
}
