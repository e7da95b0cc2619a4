package offheap

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	NoHugePage   = Advice{"MADV_NOHUGEPAGE", unix.MADV_NOHUGEPAGE}
	DontFork     = Advice{"MADV_DONTFORK", unix.MADV_DONTFORK}
	DontDump     = Advice{"MADV_DONTDUMP", unix.MADV_DONTDUMP}
	Unmergeable  = Advice{"MADV_UNMERGEABLE", unix.MADV_UNMERGEABLE}
	Populate     = Advice{"MADV_POPULATE_WRITE", unix.MADV_POPULATE_WRITE}
	privateAnon  = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE
	readAndWrite = unix.PROT_READ | unix.PROT_WRITE
)

// Reserve returns size bytes of zeros. unix.Mmap is not used: its book-keeping
// would hold every range.
func Reserve(size int) ([]byte, error) {
	addr, err := unix.MmapPtr(-1, 0, nil, uintptr(size), readAndWrite, privateAnon)
	if err != nil {
		return nil, fmt.Errorf("mmap %d bytes: %w", size, err)
	}
	return unsafe.Slice((*byte)(addr), size), nil
}

// Free gives memory and addresses back. Nobody may hold an address of it.
func Free(mem []byte) error {
	if err := unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem))); err != nil {
		return fmt.Errorf("munmap %d bytes: %w", len(mem), err)
	}
	return nil
}

// Bar gives the memory back and keeps the addresses, which may not be touched
// until Unbar.
func Bar(mem []byte) error {
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)),
		unix.PROT_NONE, privateAnon|unix.MAP_FIXED)
	if err != nil {
		return fmt.Errorf("mmap over %d bytes: %w", len(mem), err)
	}
	return nil
}

// Unbar ends what Bar began: the memory is zeros.
func Unbar(mem []byte) error {
	if err := unix.Mprotect(mem, readAndWrite); err != nil {
		return fmt.Errorf("mprotect %d bytes: %w", len(mem), err)
	}
	return nil
}

// Advise tells the kernel each advice for mem. One that the kernel was built
// without is no error.
func Advise(mem []byte, advice ...Advice) error {
	for _, a := range advice {
		if err := unix.Madvise(mem, a.code); err != nil && err != unix.EINVAL {
			return fmt.Errorf("madvise %s: %w", a.Name, err)
		}
	}
	return nil
}

// Total returns the memory of the machine in bytes.
func Total() (int64, error) {
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		return 0, fmt.Errorf("sysinfo: %w", err)
	}
	return int64(si.Totalram) * int64(si.Unit), nil
}
