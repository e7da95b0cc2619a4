//go:build amd64 || arm64

package pagemeta

import "unsafe"

// prefetch begins to bring cache lines from p on nearer; lines is not 0. It never traps.
//
//go:noescape
func prefetch(p unsafe.Pointer, lines int)
