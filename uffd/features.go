package uffd

import (
	"fmt"
	"runtime"
	"strings"
)

// Features is a set of userfaultfd features, with the bits of the kernel's
// UFFD_FEATURE_* (include/uapi/linux/userfaultfd.h).
type Features uint64

// The features of Linux up to 6.18. The kernels are those of amd64; see
// [Features.MinKernel] for arm64.
const (
	FeaturePagefaultFlagWP  Features = 1 << 0  // write protection of anonymous memory, 5.7
	FeatureEventFork        Features = 1 << 1  // 4.11, refused by Open
	FeatureEventRemap       Features = 1 << 2  // 4.11, refused by Open
	FeatureEventRemove      Features = 1 << 3  // 4.11, refused by Open
	FeatureMissingHugetlbfs Features = 1 << 4  // 4.11
	FeatureMissingShmem     Features = 1 << 5  // 4.11
	FeatureEventUnmap       Features = 1 << 6  // 4.11, refused by Open
	FeatureSigbus           Features = 1 << 7  // a trap is a SIGBUS instead of a message, 4.14
	FeatureThreadID         Features = 1 << 8  // 4.14
	FeatureMinorHugetlbfs   Features = 1 << 9  // 5.13
	FeatureMinorShmem       Features = 1 << 10 // 5.14
	FeatureExactAddress     Features = 1 << 11 // messages carry unrounded addresses, 5.18
	FeatureWPHugetlbfsShmem Features = 1 << 12 // 5.19
	FeatureWPUnpopulated    Features = 1 << 13 // protection of missing anonymous pages, 6.4
	FeaturePoison           Features = 1 << 14 // 6.6
	FeatureWPAsync          Features = 1 << 15 // the kernel resolves write traps itself, 6.7
	FeatureMove             Features = 1 << 16 // 6.8
)

const (
	featureEvents = FeatureEventFork | FeatureEventRemap | FeatureEventRemove | FeatureEventUnmap

	// Write protection came to arm64 with 6.10, and with it all that rests on it.
	featureOfWP = FeaturePagefaultFlagWP | FeatureWPHugetlbfsShmem | FeatureWPUnpopulated | FeatureWPAsync
	arm64WP     = "6.10"
)

// featureNames holds, for each bit, the kernel's name without UFFD_FEATURE_ and
// the first kernel that has it on amd64.
var featureNames = [...]struct{ name, kernel string }{
	{"PAGEFAULT_FLAG_WP", "5.7"},
	{"EVENT_FORK", "4.11"},
	{"EVENT_REMAP", "4.11"},
	{"EVENT_REMOVE", "4.11"},
	{"MISSING_HUGETLBFS", "4.11"},
	{"MISSING_SHMEM", "4.11"},
	{"EVENT_UNMAP", "4.11"},
	{"SIGBUS", "4.14"},
	{"THREAD_ID", "4.14"},
	{"MINOR_HUGETLBFS", "5.13"},
	{"MINOR_SHMEM", "5.14"},
	{"EXACT_ADDRESS", "5.18"},
	{"WP_HUGETLBFS_SHMEM", "5.19"},
	{"WP_UNPOPULATED", "6.4"},
	{"POISON", "6.6"},
	{"WP_ASYNC", "6.7"},
	{"MOVE", "6.8"},
}

// String names the features as the kernel does, without UFFD_FEATURE_: for
// example "PAGEFAULT_FLAG_WP|SIGBUS". Bits that have no name here are printed
// as a number, the empty set as "0x0".
func (f Features) String() string {
	return f.join("|", func(name string, _ Features) string { return name })
}

// MinKernel returns the first Linux release that has all features of f on
// architecture goarch ("amd64" or "arm64"), or "" if f is empty or holds a bit
// that has no name here.
func (f Features) MinKernel(goarch string) string {
	latest := ""
	for i, n := range featureNames {
		bit := Features(1) << i
		if f&bit == 0 {
			continue
		}
		f &^= bit
		kernel := n.kernel
		if goarch == "arm64" && bit&featureOfWP != 0 {
			kernel = arm64WP
		}
		if latest == "" || !releaseAtLeast(latest, kernel) {
			latest = kernel
		}
	}
	if f != 0 {
		return ""
	}
	return latest
}

// withKernels names the features, each with the first kernel that has it.
func (f Features) withKernels() string {
	return f.join(", ", func(name string, bit Features) string {
		return name + " (Linux " + bit.MinKernel(runtime.GOARCH) + ")"
	})
}

func (f Features) join(sep string, text func(name string, bit Features) string) string {
	var parts []string
	for i, n := range featureNames {
		if bit := Features(1) << i; f&bit != 0 {
			parts = append(parts, text(n.name, bit))
			f &^= bit
		}
	}
	if f != 0 || len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("%#x", uint64(f)))
	}
	return strings.Join(parts, sep)
}

// releaseAtLeast reports whether the kernel release, such as "6.1.0-18-amd64",
// is want, such as "6.1", or newer. A release that it cannot read counts as
// older.
func releaseAtLeast(release, want string) bool {
	var major, minor, wantMajor, wantMinor int
	fmt.Sscanf(release, "%d.%d", &major, &minor)
	fmt.Sscanf(want, "%d.%d", &wantMajor, &wantMinor)
	return major > wantMajor || major == wantMajor && minor >= wantMinor
}

// A Mode says which touches of a registered range trap. The bits are the
// kernel's UFFDIO_REGISTER_MODE_*.
type Mode uint64

const (
	ModeMissing Mode = 1 << 0 // any touch of a page that is not there
	ModeWP      Mode = 1 << 1 // a store to a page that is write-protected
)

// Info is what the running kernel offers this process.
type Info struct {
	Features    Features // all that a handshake could ask for
	Via         string   // the way that worked: "userfaultfd(2)" or "/dev/userfaultfd"
	Kernel      string   // release, as uname -r prints it
	PagemapScan bool     // Pagemap.Writable works, 6.7
}

// A Way is one to a userfaultfd.
type Way struct {
	Name string
	Used bool  // Open tries it
	Err  error // nil: it works; else a unix.Errno
}

// A Region is the addresses from Start up to, but without, End.
type Region struct{ Start, End uintptr }
