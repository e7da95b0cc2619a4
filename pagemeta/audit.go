package pagemeta

import (
	"fmt"
	"runtime"

	"faultline/uffd"
)

// Audit asks the kernel which pages of the arena are writable, and fails if one
// is not Dirty: a store to it would be seen by nobody. It may run at any moment
// beside everything else. The error wraps errors.ErrUnsupported on a kernel that
// cannot tell (before Linux 6.7, PAGEMAP_SCAN).
func (t *Table) Audit() error {
	if err := t.enter(); err != nil {
		return err
	}
	defer t.leave()
	pm, err := uffd.OpenPagemap()
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer pm.Close()
	runs, err := pm.Writable(t.arena.base(), uintptr(len(t.arena.mem)), nil)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	for _, r := range runs {
		for addr := r.Start; addr < r.End; addr += PageBytes {
			if err := t.auditPage(pm, PageID((addr-t.arena.base())/PageBytes)); err != nil {
				return err
			}
		}
	}
	return nil
}

// auditPage looks again at a page that was writable when the arena was scanned,
// now under its lock: between steps C and D of mkwrite, and while Freeze runs, a
// page is rightly one thing and marked as the other.
func (t *Table) auditPage(pm *uffd.Pagemap, id PageID) error {
	t.lock(id)
	defer t.unlock(id)
	state := t.load(id).State()
	if state == Dirty {
		return nil
	}
	runs, err := pm.Writable(t.arena.addr(id), PageBytes, nil)
	if err != nil {
		return fmt.Errorf("audit page %d: %w", id, err)
	}
	if len(runs) > 0 {
		return fmt.Errorf("audit: page %d is %v, and writable", id, state)
	}
	return nil
}

// awaitIdle returns when no load and no mkwrite is running.
func (t *Table) awaitIdle() {
	for t.busy.Load() != 0 {
		runtime.Gosched()
	}
}
