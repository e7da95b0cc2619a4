// Package faults measures what page traps cost on this machine: the figures that
// the design of pagemeta rests on, taken from pagemeta itself.
package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"faultline/cmd/kvbench/internal/table"
	"faultline/pagemeta"
)

const (
	// scatter is the distance of pages that no call to the kernel covers
	// together: well over what Freeze passes over to save one.
	scatter = 16

	// pages is how many of them a store of 4 GiB has; few are ever touched.
	pages = 1 << 20

	// singles is of how many pages one trap or Prepare each is timed.
	singles = 16384

	// A call that takes less than reading the clock is timed this often at once.
	atOnce  = 1024
	batches = 256

	seed = 1
)

// freezes are how many pages are frozen, and how often that is timed.
var freezes = []struct{ pages, samples int }{
	{1, 512},
	{16, 512},
	{256, 128},
	{4096, 32},
	{65536, 8},
}

// The farthest page that a freeze touches is there.
const _ = uint(pages - 65536*scatter)

// An owner has nothing to do: what it does for a store is not the trap's cost.
type owner struct{}

func (owner) Stop(cause error) error { return cause }

func (owner) ReadPage(_ pagemeta.PageID, image *pagemeta.Page) error {
	*image = pagemeta.Page{}
	return nil
}

func (owner) Mkwrite(pagemeta.PageID, uint32, *pagemeta.Page) (uint32, error) { return 1, nil }

func (owner) Forget(uint32) {}

// Run measures, and writes a Markdown table. Each title is given to progress
// when its measurement begins, and at last an empty one.
func Run(ctx context.Context, w io.Writer, progress func(title string)) error {
	m, err := newMachine()
	if err != nil {
		return err
	}
	defer m.table.Close()
	rows := [][]string{{"what", "min", "median", "p99", "samples"}}
	for _, step := range m.steps() {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		progress(step.title)
		samples, err := step.measure()
		if err != nil {
			return fmt.Errorf("%s: %w", step.title, err)
		}
		rows = append(rows, cells(step.title, samples))
	}
	progress("")
	_, err = fmt.Fprintf(w, "%s\n%s", table.Markdown(rows, 1), notes)
	return err
}

var notes = fmt.Sprintf(`- A page is %d bytes; the table has %d. Scattered pages are %d apart.
- The trap is a store to a clean page inside the boundary: SIGBUS, recover, mkwrite, and the store again. Prepare is the same mkwrite without the trap.
- Trap and Prepare are timed on %d pages in random order, the owner's part left out; each sample includes a read of the clock. What is shorter than that is timed %d at a time and divided.
`, pagemeta.PageBytes, pages, scatter, singles, atOnce)

// cells writes a row of figures over samples in nanoseconds.
func cells(title string, samples []float64) []string {
	slices.Sort(samples)
	last := len(samples) - 1
	return []string{
		title, table.Nanos(samples[0]), table.Nanos(samples[last/2]), table.Nanos(samples[last*99/100]),
		fmt.Sprint(len(samples)),
	}
}

// A step is one line of the table; it leaves no page dirty.
type step struct {
	title   string
	measure func() ([]float64, error)
}

// A machine is where the steps run: a table of pages, and what they share.
type machine struct {
	table *pagemeta.Table
	image *pagemeta.Page
	cut   []pagemeta.FrozenPage
}

func newMachine() (*machine, error) {
	t, err := pagemeta.New(pagemeta.Config{Pages: pages, Owner: owner{}})
	if err != nil {
		return nil, err
	}
	return &machine{table: t, image: new(pagemeta.Page)}, nil
}

func (m *machine) steps() []step {
	steps := []step{
		{"boundary, no trap", func() ([]float64, error) { return m.timeDirty(m.touch) }},
		{"Prepare, page dirty already", func() ([]float64, error) { return m.timeDirty(m.table.Prepare) }},
		{"Prepare, page clean", func() ([]float64, error) { return m.timeClean(m.table.Prepare) }},
		{"trap, page clean", func() ([]float64, error) { return m.timeClean(m.touch) }},
	}
	for _, f := range freezes {
		steps = append(steps, step{
			fmt.Sprintf("freeze %d contiguous", f.pages),
			func() ([]float64, error) { return m.timeFreeze(f.pages, 1, f.samples) },
		})
		if f.pages > 1 {
			steps = append(steps, step{
				fmt.Sprintf("freeze %d scattered", f.pages),
				func() ([]float64, error) { return m.timeFreeze(f.pages, scatter, f.samples) },
			})
		}
	}
	return steps
}

// touch stores to a page, as an operation does in its first phase: through as
// many traps as it takes.
func (m *machine) touch(id pagemeta.PageID) error {
	var trap pagemeta.Trap
	for {
		m.tryTouch(&trap, id)
		if !trap.Hit() {
			return nil
		}
		if err := m.table.Resolve(&trap, pagemeta.ToWrite); err != nil {
			return err
		}
	}
}

// tryTouch is the boundary.
func (m *machine) tryTouch(trap *pagemeta.Trap, id pagemeta.PageID) {
	defer m.table.Catch(trap, pagemeta.Arm())
	m.table.Page(id).Touch()
}

// timeClean times op on clean pages, one by one.
func (m *machine) timeClean(op func(pagemeta.PageID) error) ([]float64, error) {
	for id := range pagemeta.PageID(singles) {
		if err := m.table.Ask(id, pagemeta.Warm); err != nil {
			return nil, err
		}
	}
	samples := make([]float64, 0, singles)
	for _, i := range rand.New(rand.NewPCG(seed, 0)).Perm(singles) {
		start := time.Now()
		if err := op(pagemeta.PageID(i)); err != nil {
			return nil, err
		}
		samples = append(samples, float64(time.Since(start)))
	}
	return samples, m.clean()
}

// timeDirty times op on a page that is dirty, many times at once.
func (m *machine) timeDirty(op func(pagemeta.PageID) error) ([]float64, error) {
	if err := m.table.Prepare(0); err != nil {
		return nil, err
	}
	var samples []float64
	for range batches {
		start := time.Now()
		for range atOnce {
			if err := op(0); err != nil {
				return nil, err
			}
		}
		samples = append(samples, float64(time.Since(start))/atOnce)
	}
	return samples, m.clean()
}

// timeFreeze times the freeze of n dirty pages that are stride apart.
func (m *machine) timeFreeze(n, stride, times int) ([]float64, error) {
	var samples []float64
	for range times {
		for i := range n {
			if err := m.table.Prepare(pagemeta.PageID(i * stride)); err != nil {
				return nil, err
			}
		}
		start := time.Now()
		if err := m.freeze(); err != nil {
			return nil, err
		}
		samples = append(samples, float64(time.Since(start)))
		if len(m.cut) != n {
			return nil, fmt.Errorf("%d pages were frozen, want %d", len(m.cut), n)
		}
		m.write()
	}
	return samples, nil
}

// clean makes all pages clean.
func (m *machine) clean() error {
	err := m.freeze()
	m.write()
	return err
}

func (m *machine) freeze() (err error) {
	m.cut, err = m.table.Freeze(m.cut[:0])
	return err
}

// write does for the frozen pages what a flush round does, without the disk.
func (m *machine) write() {
	for _, p := range m.cut {
		if m.table.Capture(p.ID, m.image) {
			m.table.Written(p.ID)
		}
	}
}
