//go:build !amd64 && !arm64

package pagemeta

import "unsafe"

func prefetch(p unsafe.Pointer, lines int) {}
