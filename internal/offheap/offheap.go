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
