package tree

import "faultline/pagemeta"

// Bare returns the tree that had state s, for InUse alone: unlike Open it reads no
// page, so one that is damaged is no obstacle.
func Bare(pages *pagemeta.Table, s State) *Tree {
	t := &Tree{pages: pages}
	t.mu.space.init(pages.Pages, s)
	return t
}
