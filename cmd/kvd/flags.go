package main

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"

	"faultline/store"
)

// A sizeFlag takes bytes as 1073741824, 1GiB, 1GB or 512k. 0 is the default
// that the store chooses.
type sizeFlag int64

func (f *sizeFlag) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil {
		return fmt.Errorf("not a size such as 1GiB")
	}
	if n > math.MaxInt64 {
		return fmt.Errorf("larger than any memory")
	}
	*f = sizeFlag(n)
	return nil
}

func (f *sizeFlag) String() string {
	if *f == 0 {
		return ""
	}
	return humanize.IBytes(uint64(*f))
}

func (f *sizeFlag) Type() string { return "size" }

// A durabilityFlag takes sync or async.
type durabilityFlag store.Durability

func (f *durabilityFlag) Set(s string) error {
	switch s {
	case "sync":
		*f = durabilityFlag(store.Sync)
	case "async":
		*f = durabilityFlag(store.Async)
	default:
		return fmt.Errorf("want sync or async")
	}
	return nil
}

func (f *durabilityFlag) String() string {
	if store.Durability(*f) == store.Async {
		return "async"
	}
	return "sync"
}

func (f *durabilityFlag) Type() string { return "sync|async" }
