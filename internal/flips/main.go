// Flips compares what stores make of a flipped bit: of Faultline, Pebble, bbolt and
// Badger it makes small stores, closed or killed, flips one random bit of their
// files at a time, and tells whether opening and reading everything finds it.
//
//	go run ./internal/flips [-flips 600] [-seed 1] [-only NAME] [-dir DIR]
//
// It prints a Markdown table to standard output. Each trial is a process of its own,
// since what comes of a flip may be a panic or the end of the process. It runs for
// some minutes; -dir on a tmpfs saves half of them.
//
// Each store has the same 600 keys with values of 100 to 500 bytes, each put and
// synced on its own. "Closed" is after its Close, "killed" after SIGKILL following the
// last synced put. Bits are drawn from the sectors of 512 bytes that are not all
// zero, of all files. The verdict is lenient: one error of any call makes a trial an
// error, even if other keys are missing without one.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	if isChild() {
		os.Exit(child())
	}
	flips := flag.Int("flips", 600, "bits to flip in each store")
	seed := flag.Uint64("seed", 1, "where the choice of bits begins")
	only := flag.String("only", "", "only stores with this in their name")
	dir := flag.String("dir", "", "where the stores are made (default: the system's temporary directory)")
	flag.Parse()
	if err := compare(os.Stdout, os.Stderr, *only, *dir, *flips, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "flips:", err)
		os.Exit(1)
	}
}
