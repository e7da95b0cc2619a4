package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// fuzzTime is how long a fuzzer runs in one run of scale 1.
const fuzzTime = 3 * time.Minute

// A soak runs campaigns in turn until its time is over.
type soak struct {
	end   time.Time
	seed  uint64
	scale float64
	only  []string
	dir   string
	out   io.Writer

	log io.Writer
}

func (s *soak) run(ctx context.Context) error {
	some, unknown := chosen(s.only)
	if unknown != "" {
		return fmt.Errorf("no campaign %q: there are %s", unknown, names())
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "soak.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	s.log = io.MultiWriter(s.out, f)
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	runs, failed := 0, 0
	for {
		for _, c := range some {
			if ctx.Err() != nil || runs > 0 && time.Now().After(s.end) {
				return s.sum(runs, failed)
			}
			ok, err := s.turn(ctx, c)
			if ctx.Err() != nil {
				return s.sum(runs, failed)
			}
			if err != nil {
				return err
			}
			runs++
			if !ok {
				failed++
			}
		}
		s.seed++
	}
}

func (s *soak) sum(runs, failed int) error {
	fmt.Fprintf(s.log, "%d runs, %d failed\n", runs, failed)
	if failed > 0 {
		return fmt.Errorf("%d of %d runs failed: see %s", failed, runs, s.dir)
	}
	return nil
}

// turn runs a campaign once, and tells whether its tests passed.
func (s *soak) turn(ctx context.Context, c campaign) (bool, error) {
	began := time.Now()
	cmd := exec.CommandContext(ctx, "go", c.args(s.scale)...)
	cmd.Env = append(os.Environ(), "CI=true",
		"FAULTLINE_SEED="+strconv.FormatUint(s.seed, 10),
		"FAULTLINE_SCALE="+strconv.FormatFloat(c.scale*s.scale, 'f', -1, 64))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return false, err
	}
	verdict := "ok"
	if err != nil {
		verdict = "FAIL"
		kept := filepath.Join(s.dir, fmt.Sprintf("%s-%d.txt", c.name, s.seed))
		if err := os.WriteFile(kept, out, 0o644); err != nil {
			return false, err
		}
	}
	fmt.Fprintf(s.log, "%s %-17s seed %-20d %8s %-4s %s\n", began.UTC().Format(time.RFC3339), c.name, s.seed,
		time.Since(began).Round(time.Second), verdict, strings.Join(figures(out), "; "))
	return err == nil, nil
}

// args are those of the go command.
func (c campaign) args(scale float64) []string {
	args := []string{"test", "-v", "-count=1", "-timeout=0", "-tags=" + c.tags}
	if c.fuzz != "" {
		long := time.Duration(float64(fuzzTime) * scale)
		return append(args, "-run=^$", "-fuzz=^"+c.fuzz+"$", "-fuzztime="+long.String(), "./"+c.dir)
	}
	return append(args, "-run="+c.run, "./"+c.dir)
}

// figure is what a test logs that counts: a line that begins with a number. A
// fuzzer's last line has how often it ran.
var figure = regexp.MustCompile(`(?m)^\s+\w+_test\.go:\d+: (\d.*)$|^fuzz: elapsed: .*?(execs: \d+)`)

// figures are those in the output of a test.
func figures(out []byte) []string {
	var all []string
	for _, m := range figure.FindAllSubmatch(out, -1) {
		if len(m[2]) > 0 { // each such line has the whole count
			all = append(all[:0], string(m[2]))
			continue
		}
		all = append(all, string(m[1]))
	}
	return all
}
