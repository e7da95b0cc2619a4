// Package lmdb calls LMDB through a few C functions of its own (calls.h), so that an
// operation crosses from Go to C once, and no Go binding is measured in place of LMDB.
//
// It is there with cgo, LMDB's header and library (Debian: liblmdb-dev) and the build tag
// lmdb.
package lmdb
