//go:build !linux

package main

import "errors"

func openFileLimit() (uint64, error) { return 0, errors.ErrUnsupported }
