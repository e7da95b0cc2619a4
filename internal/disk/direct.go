package disk

// DirectBytes is what offset, length and memory of every access to a direct file
// are multiples of.
const DirectBytes = 4096

// A Director is a File that can be read and written past the cache of the kernel.
// Not every File is one.
type Director interface {
	// Direct returns the same open file, to be used and closed in place of the
	// first. Where the file system has no direct access it is the first.
	Direct() (File, error)
}

// Direct returns f as a file past the cache of the kernel (O_DIRECT), where that
// can be had, and f where not: the cache then has what is read, as with any other
// file, and the kernel takes its memory back when it wants to. Offset, length and
// memory of what is read and written are multiples of DirectBytes, in both cases.
//
// A store that has its own pages in memory has no use for a second copy of them
// in the cache, and pays with a copy and with its turnover for each load.
func Direct(f File) (File, error) {
	if d, ok := f.(Director); ok {
		return d.Direct()
	}
	return f, nil
}

// An Access is one of many reads or writes of a file: ReadAt or WriteAt of Mem at
// Off, whose error is Err.
type Access struct {
	Mem []byte
	Off int64
	Err error
}

// A Batcher is a File that reads and writes at several places at a time. Not every
// File is one.
type Batcher interface {
	// ReadMany makes all reads and sets their Err. It calls ended with the index of
	// each, in order, while others are still under way.
	ReadMany(reads []Access, ended func(i int))
	// WriteMany makes all writes, in any order, and sets their Err.
	WriteMany(writes []Access)
}

// ReadMany makes all reads of f and sets their Err; several at a time, if f can. It
// calls ended with the index of each, in order: what ended does with it takes place
// while others are read.
func ReadMany(f File, reads []Access, ended func(i int)) {
	if b, ok := f.(Batcher); ok {
		b.ReadMany(reads, ended)
		return
	}
	for i := range reads {
		r := &reads[i]
		_, r.Err = f.ReadAt(r.Mem, r.Off)
		ended(i)
	}
}

// WriteMany makes all writes to f, which do not overlap, and returns the first
// error; several at a time, if f can. After an error all of them are in doubt.
func WriteMany(f File, writes []Access) error {
	if b, ok := f.(Batcher); ok {
		b.WriteMany(writes)
		for i := range writes {
			if err := writes[i].Err; err != nil {
				return err
			}
		}
		return nil
	}
	for i := range writes {
		w := &writes[i]
		if _, w.Err = f.WriteAt(w.Mem, w.Off); w.Err != nil {
			return w.Err
		}
	}
	return nil
}
