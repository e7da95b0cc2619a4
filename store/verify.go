package store

import (
	"context"
	"errors"

	"faultline/store/tree"
)

// A Report says what Verify has looked at.
type Report struct {
	tree.Report
	LogRecords uint64 // records that Open has replayed
	LogBytes   uint64
	Recovered  int  // pages that Open has restored from the journal
	Audited    bool // the kernel was asked which pages are writable
}

// Verify reads every page that is in use and compares the store with itself:
// checksums of pages that come from disk, and of long values, the order of keys, the marks of used
// pages, the count of keys; and it asks the kernel whether any page is writable
// that is not known as dirty. Writers wait meanwhile. The error is its first
// finding, and wraps ErrCorrupt if it is one of damage.
func (db *DB) Verify(ctx context.Context) (Report, error) {
	r := Report{
		LogRecords: uint64(db.recovery.Records),
		LogBytes:   uint64(db.recovery.Bytes),
		Recovered:  db.flusher.Metrics().Recovered,
	}
	if err := db.usable(); err != nil {
		return r, err
	}
	if err := db.merge(ctx); err != nil { // so that every key is in its leaf
		return r, db.orClosed(err)
	}
	err := db.flusher.Exclusive(func() (err error) {
		if err := db.usable(); err != nil {
			return err
		}
		r.Report, err = db.tree.Check(ctx, db.checkValue)
		r.Keys -= db.tree.Dead() + db.tree.Slot(systemSlot).Keys
		return err
	})
	if err != nil {
		return r, db.orClosed(db.readError(err))
	}
	switch err := db.Audit(); {
	case err == nil:
		r.Audited = true
	case !errors.Is(err, errors.ErrUnsupported):
		return r, err
	}
	return r, nil
}

// Audit asks the kernel which pages are writable, and fails if one of them is
// not known as dirty: writes to it would never reach the disk. It costs
// microseconds, and may run at any time. The error wraps errors.ErrUnsupported
// before Linux 6.7. A finding stops the store.
func (db *DB) Audit() error {
	err := db.flusher.Pages.Audit()
	if err == nil || errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err := db.usable(); err != nil {
		return err
	}
	return db.flusher.Stop(err)
}
