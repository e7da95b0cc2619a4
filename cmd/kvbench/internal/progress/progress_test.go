package progress

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWatch wants a line with title, part and time left, which is gone at the end.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		stop := Watch(&out, "fillseq", 100, func() int64 { return 25 })
		time.Sleep(3 * redrawEvery)
		synctest.Wait()
		stop()
		lines := strings.Split(out.String(), "\r")
		if !strings.Contains(out.String(), "fillseq  25% |") || strings.TrimSpace(lines[len(lines)-1]) != "" {
			t.Errorf("drew %q", lines)
		}
	})
	Watch(nil, "fillseq", 100, nil)() // nobody looks
}

// TestWithin checks which end is nearer.
func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := int64(0)
		now := func() int64 { return done }
		if most, same := Within(0, 70, now); most != 70 || same() != 0 {
			t.Errorf("without a limit: %d of %d", same(), most)
		}
		all, both := Within(10*time.Second, 70, now)
		_, alone := Within(10*time.Second, -1, now)
		for _, test := range []struct {
			wait             time.Duration
			done             int64
			both, alone, all int64
		}{
			{0, 0, 0, 0, 1000}, {time.Second, 0, 100, 100, 1000}, {0, 35, 500, 100, 1000}, {8 * time.Second, 35, 900, 900, 1000},
			{8 * time.Second, 69, 1000, 1000, 1000},
		} {
			time.Sleep(test.wait)
			done = test.done
			if both() != test.both || alone() != test.alone || all != test.all {
				t.Errorf("%d done after %v: %d and %d of %d, want %d and %d", done, test.wait, both(), alone(), all, test.both, test.alone)
			}
		}
	})
}
