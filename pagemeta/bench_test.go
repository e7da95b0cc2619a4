package pagemeta

import (
	"fmt"
	"testing"
)

// BenchmarkAudit audits an arena of 1 GiB, all of it in memory, when one page in
// so many is Dirty; 0 is none, as right after a freeze.
func BenchmarkAudit(b *testing.B) {
	const pages = 1 << 30 / PageBytes
	table := newTable(b, Config{Pages: pages, Owner: newOwner()})
	for id := range PageID(pages) {
		table.Fresh(id)
		if err := table.Ask(id, Warm); err != nil {
			b.Fatal(err)
		}
	}
	for _, one := range []int{0, 1000, 100, 10} {
		b.Run(fmt.Sprintf("dirty=1:%d", one), func(b *testing.B) {
			for id := 0; one > 0 && id < pages; id += one {
				if err := table.Prepare(PageID(id)); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if err := table.Audit(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
