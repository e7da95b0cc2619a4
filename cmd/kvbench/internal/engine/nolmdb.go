//go:build !lmdb || !cgo

package engine

// lmdbNames is empty: this program was built without LMDB.
var lmdbNames []string

func newLMDB() Engine { panic("engine: built without LMDB") }
