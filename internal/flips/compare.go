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
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
)

// An outcome is what came of one flip.
type outcome int

const (
	silent   outcome = iota // a key is missing or wrong, and no call says so
	reported                // some call returned an error
	noEffect                // all keys are right
	died                    // a panic, or the store ended the process
	hung
	numOutcomes
)

// patience is how long a child may read; a tenth of a second is usual.
const patience = 2 * time.Minute

// compare writes the table of the peers with only in their name.
func compare(out, progress io.Writer, only, dir string, flips int, seed uint64) error {
	work, err := os.MkdirTemp(dir, "flips")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	fmt.Fprintf(out, "| store | files | KiB | flips | silent | error | no effect | process ended | hang |\n")
	fmt.Fprintf(out, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, p := range peers {
		if !strings.Contains(p.name, only) {
			continue
		}
		for _, files := range []struct{ name, task string }{{"closed", taskClose}, {"killed", taskKill}} {
			bar := progressbar.NewOptions(flips, progressbar.OptionSetWriter(progress),
				progressbar.OptionSetDescription(p.name+", "+files.name))
			s, counts, err := try(p, files.task, work, flips, seed, func() { _ = bar.Add(1) })
			if err != nil {
				return fmt.Errorf("%s, %s: %w", p.name, files.name, err)
			}
			fmt.Fprintln(progress)
			fmt.Fprintf(out, "| %s | %s | %d | %d | %d | %d | %d | %d | %d |\n", p.name, files.name, s.bytes()>>10, flips,
				counts[silent], counts[reported], counts[noEffect], counts[died], counts[hung])
		}
	}
	return nil
}

// try makes a store and reads it with one bit flipped, again and again, a child for
// each processor at a time. Without a flip it must be right.
func try(p peer, task, work string, flips int, seed uint64, tried func()) (s snapshot, counts [numOutcomes]int, err error) {
	if s, err = makeStore(p, task, filepath.Join(work, "made")); err != nil {
		return s, counts, err
	}
	came, err := s.trial(p, filepath.Join(work, "copy"), nil)
	if err == nil && came != noEffect {
		err = fmt.Errorf("not right as it was made: outcome %d", came)
	}
	if err != nil {
		return s, counts, err
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	bits := make(chan bit, flips)
	for range flips {
		bits <- s.draw(rng)
	}
	close(bits)
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for i := range runtime.NumCPU() {
		wg.Go(func() {
			for b := range bits {
				came, err := s.trial(p, filepath.Join(work, fmt.Sprint("copy", i)), &b)
				mu.Lock()
				counts[came]++
				errs = append(errs, err)
				tried()
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return s, counts, errors.Join(errs...)
}

// trial reads the store, laid in dir, with a bit flipped if there is one.
func (s snapshot) trial(p peer, dir string, b *bit) (outcome, error) {
	if err := s.lay(dir); err != nil {
		return 0, err
	}
	if b != nil {
		if err := b.flip(dir); err != nil {
			return 0, err
		}
	}
	return readStore(p, dir)
}

// makeStore makes the store of a peer in dir, and reads its files.
func makeStore(p peer, task, dir string) (snapshot, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	cmd, err := command(context.Background(), taskFor(task, p.name, dir))
	if err != nil {
		return nil, err
	}
	text, err := cmd.CombinedOutput()
	killed := cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if cmd.ProcessState.ExitCode() != exitRight && !(task == taskKill && killed) {
		return nil, fmt.Errorf("make a store: %w: %s", err, text)
	}
	return take(dir)
}

// command is this program as a child.
func command(ctx context.Context, task string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), task)
	return cmd, nil
}

// readStore has a child read the store in dir.
func readStore(p peer, dir string) (outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd, err := command(ctx, taskFor(taskRead, p.name, dir))
	if err != nil {
		return 0, err
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	switch cmd.ProcessState.ExitCode() {
	case exitRight:
		return noEffect, nil
	case exitWrong:
		return silent, nil
	case exitError:
		return reported, nil
	case exitBroken:
		return 0, fmt.Errorf("child with %q", p.name)
	}
	if ctx.Err() != nil {
		return hung, nil
	}
	return died, nil
}
