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

// A Read is one of many reads of a file: as ReadAt(Into, Off), whose error is Err.
type Read struct {
	Into []byte
	Off  int64
	Err  error
}

// A BatchReader is a File that reads at several places at a time. Not every File
// is one.
type BatchReader interface {
	// ReadMany makes all reads and sets their Err.
	ReadMany(reads []Read)
}

// ReadMany makes all reads of f and sets their Err; several at a time, if f can.
func ReadMany(f File, reads []Read) {
	if b, ok := f.(BatchReader); ok {
		b.ReadMany(reads)
		return
	}
	for i := range reads {
		r := &reads[i]
		_, r.Err = f.ReadAt(r.Into, r.Off)
	}
}
