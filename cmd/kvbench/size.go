package main

import (
	"errors"
	"strings"

	"github.com/dustin/go-humanize"
)

// A size is a flag for bytes, in words such as 512MiB. Nobody can set it to 0, which is a
// default that follows from other flags.
type size int64

// A length is a size that may be 0.
type length int64

// maxSize is more than a machine has, and fits all types of the engines.
const maxSize = 1 << 50

func parseSize(word string) (int64, error) {
	n, err := humanize.ParseBytes(word)
	switch {
	case err != nil:
		return 0, errors.New("want a size such as 512MiB")
	case n > maxSize:
		return 0, errors.New("want at most " + humanize.IBytes(maxSize))
	case strings.Contains(word, ".") && strings.Trim(word, "0123456789., bB") == "":
		return 0, errors.New("want whole bytes")
	}
	return int64(n), nil
}

func (s *size) Set(word string) error {
	n, err := parseSize(word)
	if err == nil && n == 0 {
		err = errors.New("want more than 0")
	}
	*s = size(n)
	return err
}

func (s *size) String() string {
	if *s == 0 {
		return "" // no default of ours
	}
	return humanize.IBytes(uint64(*s))
}

func (s *size) Type() string { return "size" }

func (l *length) Set(word string) error {
	n, err := parseSize(word)
	*l = length(n)
	return err
}

func (l *length) String() string { return humanize.IBytes(uint64(*l)) }
func (l *length) Type() string   { return "size" }
