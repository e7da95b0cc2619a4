package tree

import (
	"math/bits"

	"faultline/pagemeta"
)

// Trim lets the file end behind its last page that is in use. Groups that have only
// their bitmap are given up, too. It changes no page: where the file ends is told by
// the superblock of the next cut. It is called inside the gate.
func (t *Tree) Trim() error {
	t.mu.Lock()
	loose := t.mu.space.loose
	t.mu.space.loose = false
	t.mu.Unlock()
	if !loose {
		return nil
	}
	return t.restructure(&Op{}, t.planTrim)
}

// planTrim looks for the end of the file from the last group backwards.
func (t *Tree) planTrim(c *change) step {
	for g := t.mu.space.groups - 1; g >= 0; g-- {
		id := pagemeta.PageID(g*groupPages + bitmapPage)
		if err := t.pages.Ask(id, pagemeta.Warm); err != nil {
			return step{kind: failed, err: err}
		}
		page := t.pages.Page(id)
		if page.Kind() != KindBitmap {
			return step{kind: damaged, page: id}
		}
		if last, ok := lastUsed(page); ok || g == 0 {
			c.end = g*groupPages + last + 1
			return done
		}
	}
	return done
}

// lastUsed returns the last page that b, a bitmap, says is in use, as its number in the
// group, and whether the group has more than the bitmap itself.
func lastUsed(b *pagemeta.Page) (last int, more bool) {
	for i := groupPages/64 - 1; i >= 0; i-- {
		word := le.Uint64(b[pagemeta.HeaderBytes+8*i:])
		if i == 0 {
			word &^= 1 << bitmapPage
		}
		if word != 0 {
			return max(64*i+63-bits.LeadingZeros64(word), bitmapPage), true
		}
	}
	return bitmapPage, false
}

// commitEnd makes the file end at page end, behind which nothing is in use.
func (s *space) commitEnd(end int) {
	groups := groupsOf(end)
	s.used -= s.groups - groups
	s.pages, s.groups = end, groups
}
