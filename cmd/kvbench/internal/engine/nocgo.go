//go:build !cgo

package engine

// usesCgo tells what Pebble's own build constraint has decided.
const usesCgo = false
