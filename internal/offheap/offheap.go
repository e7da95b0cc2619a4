// Package offheap reserves memory outside the Go heap: address space that costs
// nothing until it is touched, that the collector neither scans nor counts.
//
// The memory holds no Go pointers. All functions fail with an error wrapping
// errors.ErrUnsupported where the system is not Linux.
package offheap

// Advice is what the kernel is told about a range.
type Advice struct {
	Name string // as in madvise(2)
	code int
}

// Release is Free for who may have memory and may be asked twice: *mem is nil
// afterwards, and nil is no error.
func Release(mem *[]byte) error {
	m := *mem
	if m == nil {
		return nil
	}
	*mem = nil
	return Free(m)
}
