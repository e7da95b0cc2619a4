package uffd

import (
	"errors"
	"runtime"
	"testing"
)

func TestFeaturesString(t *testing.T) {
	for _, c := range []struct {
		f    Features
		want string
	}{
		{0, "0x0"},
		{FeatureSigbus, "SIGBUS"},
		{FeaturePagefaultFlagWP | FeatureSigbus, "PAGEFAULT_FLAG_WP|SIGBUS"},
		{FeatureMove | 1<<40, "MOVE|0x10000000000"},
		{1 << 40, "0x10000000000"},
	} {
		if got := c.f.String(); got != c.want {
			t.Errorf("Features(%#x) = %q, want %q", uint64(c.f), got, c.want)
		}
	}
}

// TestFeatureNames pairs every bit with its name: the table is in the order of
// the bits, and the constants are the bits.
func TestFeatureNames(t *testing.T) {
	for i, f := range []Features{
		FeaturePagefaultFlagWP, FeatureEventFork, FeatureEventRemap, FeatureEventRemove,
		FeatureMissingHugetlbfs, FeatureMissingShmem, FeatureEventUnmap, FeatureSigbus,
		FeatureThreadID, FeatureMinorHugetlbfs, FeatureMinorShmem, FeatureExactAddress,
		FeatureWPHugetlbfsShmem, FeatureWPUnpopulated, FeaturePoison, FeatureWPAsync, FeatureMove,
	} {
		if f != 1<<i || f.String() != featureNames[i].name {
			t.Errorf("bit %d: constant %#x, named %s", i, uint64(f), f)
		}
	}
	if last := Features(1) << (len(featureNames) - 1); last != FeatureMove {
		t.Errorf("the last name is of bit %#x", uint64(last))
	}
}

func TestMinKernel(t *testing.T) {
	for _, c := range []struct {
		f            Features
		amd64, arm64 string
	}{
		{0, "", ""},
		{FeatureSigbus, "4.14", "4.14"},
		{FeatureSigbus | FeaturePagefaultFlagWP, "5.7", "6.10"},
		{FeatureWPAsync | FeatureWPUnpopulated, "6.7", "6.10"},
		{FeatureMove | FeatureSigbus, "6.8", "6.8"},
		{FeatureSigbus | 1<<40, "", ""},
	} {
		if got := c.f.MinKernel("amd64"); got != c.amd64 {
			t.Errorf("%v on amd64: %q, want %q", c.f, got, c.amd64)
		}
		if got := c.f.MinKernel("arm64"); got != c.arm64 {
			t.Errorf("%v on arm64: %q, want %q", c.f, got, c.arm64)
		}
	}
}

func TestReleaseAtLeast(t *testing.T) {
	for _, c := range []struct {
		release, want string
		ok            bool
	}{
		{"6.1.0-18-amd64", "6.1", true},
		{"6.10.3", "6.9", true},
		{"6.9", "6.10", false},
		{"5.15.0", "6.1", false},
		{"7.0-rc1", "6.18", true},
		{"", "4.3", false},
		{"4.19.0-gvisor", "5.7", false},
	} {
		if got := releaseAtLeast(c.release, c.want); got != c.ok {
			t.Errorf("releaseAtLeast(%q, %q) = %t", c.release, c.want, got)
		}
	}
}

// TestUnsupportedPlatform holds where the package is all stubs.
func TestUnsupportedPlatform(t *testing.T) {
	if runtime.GOOS == "linux" && (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64") {
		t.Skip("this platform is supported")
	}
	_, errOpen := Open(0)
	_, errProbe := Probe()
	_, errPagemap := OpenPagemap()
	for _, err := range []error{errOpen, errProbe, errPagemap} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v does not wrap ErrUnsupported", err)
		}
	}
}
