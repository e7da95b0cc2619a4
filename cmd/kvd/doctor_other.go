//go:build !linux

package main

import (
	"errors"
	"runtime"
)

func (d *diagnosis) examine() {
	d.add("kernel", fatal, "run it on Linux, amd64 or arm64", "%s/%s has no userfaultfd", runtime.GOOS, runtime.GOARCH)
}

func availableMemory() (machine, available int64, err error) { return 0, 0, errors.ErrUnsupported }
