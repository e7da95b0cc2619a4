package store

import (
	"testing"

	"faultline/pagemeta"
)

// TestCredits checks for all sizes of a file that what may be changed has memory, with
// its images and what is kept beside leaves, and that it gets no more as the file grows.
func TestCredits(t *testing.T) {
	const page = pagemeta.PageBytes
	for _, given := range []Options{
		{MemoryBudget: MinMemoryBudget},
		{MemoryBudget: 64 << 20},
		{MemoryBudget: 1 << 30},
		{MemoryBudget: 1 << 30, DirtyBudget: 16 << 20},
		{MemoryBudget: 64 << 30},
	} {
		o, err := given.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		most := o.MemoryBudget
		for pages := int64(1); pages < int64(o.capacity()); pages += pages/64 + 1 {
			n := int64(o.credits(pages)) * page
			if given.DirtyBudget > 0 && n > given.DirtyBudget {
				t.Fatalf("%+v: %d bytes dirty of %d pages", given, n, pages)
			}
			if n > most {
				t.Fatalf("%+v: %d bytes dirty of %d pages, and %d of fewer", given, n, pages, most)
			}
			most = n
			at := min(n, pages*page) // a page can be Dirty and have an image at one time
			beside := o.changeBytes(pages)
			if at > o.spare(pages)/4 { // then all pages are in memory, or their place is free
				beside /= chunkShare
			}
			if need := 2*at + beside; n > minCredits*page && need > o.spare(pages) {
				t.Fatalf("%+v: %d bytes dirty of %d pages need %d bytes, and there are %d", given, n, pages, need, o.spare(pages))
			}
		}
	}
	o, err := (&Options{MemoryBudget: 1 << 30}).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	// Files grow ahead of their use, so this is the one of 2,000,000 short entries.
	if pages, got := 95_000, o.credits(95_000); got < 2*pages {
		t.Errorf("%d credits with all %d pages in memory, want twice as many", got, pages)
	}
}
