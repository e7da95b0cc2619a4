//go:build !linux || !(amd64 || arm64)

package main

import "errors"

// On other platforms there is no store to serve; this only has to compile.

type filter struct{}

func newFilter(bool) filter { return filter{} }
func newOpenFilter() filter { return filter{} }
func (filter) apply() error { return errors.ErrUnsupported }
