package bench

import "testing"

func TestProfilePath(t *testing.T) {
	for path, want := range map[string]string{
		"cpu.pprof":   "cpu-fillsync@16-2.pprof",
		"/p.d/cpu":    "/p.d/cpu-fillsync@16-2",
		"/p/a.b.prof": "/p/a.b-fillsync@16-2.prof",
	} {
		if got := profilePath(path, Workload{Name: "fillsync", Threads: 16}, 2); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
