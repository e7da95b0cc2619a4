package flusher

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"faultline/internal/memdisk"
)

// TestCutAlone asks for a round while an operation is in the gate. The cut must be made
// after its end, and nobody may come in until the pages are Frozen.
func TestCutAlone(t *testing.T) {
	watchdog(t)
	r := newRig(t, memdisk.New())
	if err := r.tryOpen(false); err != nil {
		t.Fatal(err)
	}
	inside, cuts := true, 0
	r.f.Start(&rigLog{r: r}, func() (Cut, error) {
		if inside {
			t.Error("cut with an operation inside")
		}
		if !r.f.gate.shut.Load() {
			t.Error("cut with the gate open")
		}
		cuts++
		return r.cut()
	}, func() {})
	n, err := r.f.Begin(context.Background(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	*r.stamp++
	if err := r.store(1, *r.stamp); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.f.Checkpoint(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for range 1000 {
		runtime.Gosched() // the round begins
	}
	inside = false
	r.f.End(n, 0)
	wg.Wait()
	if cuts != 1 {
		t.Errorf("%d cuts", cuts)
	}
	r.close()
}

// TestCutAfterStop stops the Flusher out of an operation for which a cut already waits, as
// a batch does that fails in the middle. The pages have half of it: there must be no cut.
func TestCutAfterStop(t *testing.T) {
	watchdog(t)
	r := newRig(t, memdisk.New())
	if err := r.tryOpen(false); err != nil {
		t.Fatal(err)
	}
	r.f.Start(&rigLog{r: r}, func() (Cut, error) {
		t.Error("cut")
		return r.cut()
	}, func() {})
	n, err := r.f.Begin(context.Background(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.f.Checkpoint(context.Background()); !errors.Is(err, ErrStopped) || !errors.Is(err, errDisk) {
			t.Errorf("checkpoint: %v", err)
		}
	})
	for !r.f.gate.shut.Load() {
		runtime.Gosched()
	}
	_ = r.f.Stop(errDisk)
	r.f.End(n, 0)
	wg.Wait()
	if err := r.f.Close(context.Background()); !errors.Is(err, errDisk) {
		t.Errorf("close: %v", err)
	}
}
