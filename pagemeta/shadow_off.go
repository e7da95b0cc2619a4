//go:build !race

package pagemeta

import "faultline/internal/offheap"

// A shadow is nothing without the race detector: see shadow_race.go.
type shadow struct{}

func newShadow(int) shadow { return shadow{} }

func (t *Table) sees(id PageID)    {}
func (t *Table) changes(id PageID) {}

func reserveMetas(size int) ([]byte, error) { return offheap.Reserve(size) }
func dropMetas(mem []byte) error            { return offheap.Drop(mem) }
