package main

import (
	"errors"

	"github.com/dustin/go-humanize"
)

// A size is a flag for bytes, in words such as 512MiB.
type size int64

// maxSize is more than a machine has, and fits all types of the engines.
const maxSize = 1 << 50

func (s *size) Set(word string) error {
	n, err := humanize.ParseBytes(word)
	if err != nil || n > maxSize {
		return errors.New("want a size such as 512MiB")
	}
	*s = size(n)
	return nil
}

func (s *size) String() string {
	if *s == 0 {
		return "" // no default of ours
	}
	return humanize.IBytes(uint64(*s))
}

func (s *size) Type() string { return "size" }
