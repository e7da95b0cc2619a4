package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const sectorBytes = 512

// A snapshot is the files of a directory in memory, without what is zero in them:
// Badger's are some gigabytes long.
type snapshot []*file

type file struct {
	name    string // from the directory
	size    int64
	sectors []sector // that are not zero
}

type sector struct {
	at   int64
	data []byte // sectorBytes, or up to the end of the file
}

// take reads the files below dir.
func take(dir string) (s snapshot, err error) {
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		f, err := takeFile(name)
		if err != nil {
			return err
		}
		f.name, err = filepath.Rel(dir, name)
		s = append(s, f)
		return err
	})
	return s, err
}

func takeFile(name string) (*file, error) {
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	f := &file{size: info.Size()}
	for at := int64(0); at < f.size; {
		from, err := in.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // zeros up to the end
		}
		if err != nil {
			return nil, err
		}
		if at, err = in.Seek(from, unix.SEEK_HOLE); err != nil {
			return nil, err
		}
		if err := f.takeRange(in, from, at); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// takeRange reads the sectors from from, where one begins, up to end.
func (f *file) takeRange(in *os.File, from, end int64) error {
	buf := make([]byte, 1<<20)
	for ; from < end; from += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), end-from)]
		if _, err := in.ReadAt(b, from); err != nil && err != io.EOF {
			return err
		}
		for i := 0; i < len(b); i += sectorBytes {
			data := b[i:min(i+sectorBytes, len(b))]
			if len(bytes.TrimLeft(data, "\x00")) > 0 {
				f.sectors = append(f.sectors, sector{from + int64(i), bytes.Clone(data)})
			}
		}
	}
	return nil
}

// bytes is how many bytes can be flipped.
func (s snapshot) bytes() (n int64) {
	for _, f := range s {
		for _, sec := range f.sectors {
			n += int64(len(sec.data))
		}
	}
	return n
}

// A bit is one that can be flipped.
type bit struct {
	file *file
	at   int64
	mask byte
}

// draw returns any bit of the sectors, each as likely as the others.
func (s snapshot) draw(rng *rand.Rand) bit {
	n := rng.Int64N(8 * s.bytes())
	for _, f := range s {
		for _, sec := range f.sectors {
			if bits := 8 * int64(len(sec.data)); n >= bits {
				n -= bits
				continue
			}
			return bit{f, sec.at + n/8, 1 << (n % 8)}
		}
	}
	panic("no bits")
}

// lay writes the files into dir, which it makes anew.
func (s snapshot) lay(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, f := range s {
		if err := f.lay(filepath.Join(dir, f.name)); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) lay(name string) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for _, sec := range f.sectors {
		if _, err := out.WriteAt(sec.data, sec.at); err != nil {
			return err
		}
	}
	return out.Truncate(f.size)
}

// flip changes the bit in the files below dir.
func (b bit) flip(dir string) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, b.file.name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var buf [1]byte
	if _, err := f.ReadAt(buf[:], b.at); err != nil {
		return err
	}
	buf[0] ^= b.mask
	_, err = f.WriteAt(buf[:], b.at)
	return err
}
