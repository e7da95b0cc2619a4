package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"faultline/server"
)

// The kinds of values that settings have. Each is a pflag.Value, so that one Set reads
// what comes from a flag, the environment or a file.

// A size takes bytes as 1073741824, 1GiB, 1GB or 512k. What 0 means stands at the
// setting.
type size int64

func (v *size) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil {
		return fmt.Errorf("not a size such as 1GiB")
	}
	if n > math.MaxInt64 {
		return fmt.Errorf("larger than any memory")
	}
	*v = size(n)
	return nil
}

func (v *size) String() string {
	n := int64(*v)
	if n == 0 {
		return ""
	}
	units := []string{"", "KiB", "MiB", "GiB", "TiB"}
	for len(units) > 1 && n%1024 == 0 {
		n, units = n/1024, units[1:]
	}
	return strconv.FormatInt(n, 10) + units[0]
}

func (v *size) Type() string { return "size" }

// A number is an integer within bounds.
type number struct {
	to       *int
	min, max int
}

func (v number) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil {
		return fmt.Errorf("not a whole number")
	}
	if n < v.min || n > v.max {
		if v.max == math.MaxInt {
			return fmt.Errorf("want %d or more", v.min)
		}
		return fmt.Errorf("want %d to %d", v.min, v.max)
	}
	*v.to = n
	return nil
}

func (v number) String() string {
	if v.to == nil {
		return ""
	}
	return strconv.Itoa(*v.to)
}

func (v number) Type() string { return "number" }

// Seconds is a time as Redis has it, a number of seconds, or with a unit as in 5m.
type seconds time.Duration

func (v *seconds) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 31)
	d := time.Duration(n) * time.Second
	if err != nil {
		d, err = time.ParseDuration(s)
	}
	if err != nil || d < 0 {
		return fmt.Errorf("not a number of seconds, nor a time such as 5m")
	}
	*v = seconds(d)
	return nil
}

func (v *seconds) String() string {
	d := time.Duration(*v)
	if d%time.Second == 0 {
		return strconv.FormatInt(int64(d/time.Second), 10)
	}
	return d.String()
}

func (v *seconds) Type() string { return "seconds" }

// A choice is one of several words.
type choice struct {
	to    *string
	words []string
}

func (v choice) Set(s string) error {
	if !slices.Contains(v.words, s) {
		last := len(v.words) - 1
		return fmt.Errorf("want %s or %s", strings.Join(v.words[:last], ", "), v.words[last])
	}
	*v.to = s
	return nil
}

func (v choice) String() string {
	if v.to == nil {
		return ""
	}
	return *v.to
}

func (v choice) Type() string { return strings.Join(v.words, "|") }

// A yesNo is a condition in Redis's words.
type yesNo bool

func (v *yesNo) Set(s string) error {
	switch s {
	case "yes", "true":
		*v = true
	case "no", "false":
		*v = false
	default:
		return fmt.Errorf("want yes or no")
	}
	return nil
}

func (v *yesNo) String() string {
	if *v {
		return "yes"
	}
	return "no"
}

func (v *yesNo) Type() string { return "yes|no" }

// A text is any text.
type text string

func (v *text) Set(s string) error { *v = text(s); return nil }
func (v *text) String() string     { return string(*v) }
func (v *text) Type() string       { return "string" }

// A path is the name of a file or directory.
type path string

func (v *path) Set(s string) error { *v = path(s); return nil }
func (v *path) String() string     { return string(*v) }
func (v *path) Type() string       { return "path" }

// Hosts are addresses without a port, with blanks or commas between them.
type hosts []string

func (v *hosts) Set(s string) error {
	list := words(s)
	for _, host := range list {
		if strings.Contains(host, "]") || net.ParseIP(host) == nil && strings.Contains(host, ":") {
			return fmt.Errorf("%q is not an address without a port", host)
		}
	}
	*v = list
	return nil
}

func (v *hosts) String() string { return strings.Join(*v, " ") }
func (v *hosts) Type() string   { return "hosts" }

// Addresses are host:port, with blanks or commas between them.
type addresses []string

func (v *addresses) Set(s string) error {
	list := words(s)
	for _, addr := range list {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return err
		}
	}
	*v = list
	return nil
}

func (v *addresses) String() string { return strings.Join(*v, " ") }
func (v *addresses) Type() string   { return "addresses" }

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })
}

// A mode is the permissions of a file, in octal digits.
type mode uint32

func (v *mode) Set(s string) error {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("not permissions such as 700")
	}
	*v = mode(n)
	return nil
}

func (v *mode) String() string { return strconv.FormatUint(uint64(*v), 8) }
func (v *mode) Type() string   { return "octal" }

// An outputLimit is that of Redis for the class of normal clients, the only one here.
type outputLimit server.OutputLimit

func (v *outputLimit) Set(s string) error {
	f := words(s)
	if len(f) == 4 && f[0] == "normal" { // it may be left out
		f = f[1:]
	}
	if len(f) != 3 {
		return fmt.Errorf("not like normal 256MiB 64MiB 60")
	}
	var hard, soft size
	var within seconds
	if err := errors.Join(hard.Set(f[0]), soft.Set(f[1]), within.Set(f[2])); err != nil {
		return err
	}
	*v = outputLimit{HardBytes: int64(hard), SoftBytes: int64(soft), SoftFor: time.Duration(within)}
	return nil
}

func (v *outputLimit) String() string {
	text := func(n int64) string {
		if n == 0 {
			return "0"
		}
		b := size(n)
		return b.String()
	}
	within := seconds(v.SoftFor)
	return "normal " + text(v.HardBytes) + " " + text(v.SoftBytes) + " " + within.String()
}

func (v *outputLimit) Type() string { return "limit" }
