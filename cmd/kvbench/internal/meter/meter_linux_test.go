package meter

import "testing"

// TestCounters reads lines of the kernel's, of this machine and of others.
func TestCounters(t *testing.T) {
	read, write, err := sectorsIn("  1234  5 1000 44 8 9 2000 1 0 2 3 4 5 6 7\n")
	if err != nil || read != 512_000 || write != 1_024_000 {
		t.Errorf("device: %d, %d, %v", read, write, err)
	}
	if _, _, err := sectorsIn("1 2 3"); err == nil {
		t.Error("device: short line is no error")
	}
	busy, err := busyIn("cpu  100 20 300 40000 5000 6 70 0 0 0")
	if err != nil || busy != 4.96 {
		t.Errorf("busy %v, %v, want 4.96", busy, err)
	}
	if _, err := busyIn("intr 1 2 3 4 5 6 7 8"); err == nil {
		t.Error("busy: another line is no error")
	}
}

// TestMeter reads this process's own counters twice: what is between is not
// negative, and memory is there.
func TestMeter(t *testing.T) {
	m := New(t.TempDir())
	a, err := m.Read()
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Read()
	if err != nil {
		t.Fatal(err)
	}
	u := Between(a, b)
	if u.Seconds < 0 || u.CPUSeconds < u.SystemSeconds || u.SystemSeconds < 0 || u.OthersCores < 0 || u.ReadBytes < 0 || u.WriteBytes < 0 || u.DeviceReadBytes < 0 {
		t.Errorf("%+v", u)
	}
	if peak, err := PeakRSS(); err != nil || peak < 1<<20 {
		t.Errorf("%d bytes resident at most, %v", peak, err)
	}
}
