//go:build !linux

package main

import "errors"

// On other platforms there is no store to serve; this only has to compile.

type identity struct{ uid, gid int }

func identityOf(string) (identity, error) { return identity{}, errors.ErrUnsupported }
func (identity) become() error            { return errors.ErrUnsupported }
func noNewPrivileges() error              { return nil }

type sandbox struct {
	readWrite, read, unlink []string
	abstract                bool
}

func (*sandbox) apply() (int, error) { return 0, errors.ErrUnsupported }
