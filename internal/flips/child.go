package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
)

// The child's task comes in the environment: what it does, the name of the peer and
// the directory.
const childVar = "FLIPS_CHILD"

const (
	taskClose = "close" // make a store and close it
	taskKill  = "kill"  // make a store and die
	taskRead  = "read"  // open and read; the exit code says what was found
)

// Exit codes of a child that has come to an end of its own. Go's runtime and the
// stores use small ones.
const (
	exitRight  = 50
	exitWrong  = 51
	exitError  = 52
	exitBroken = 53 // the child itself
)

func taskFor(task, peer, dir string) string {
	return childVar + "=" + strings.Join([]string{task, peer, dir}, "\n")
}

func isChild() bool { return os.Getenv(childVar) != "" }

// child does what the environment asks for, and returns the exit code.
func child() int {
	task := strings.Split(os.Getenv(childVar), "\n")
	if len(task) != 3 {
		return exitBroken
	}
	i := slices.IndexFunc(peers, func(p peer) bool { return p.name == task[1] })
	if i < 0 {
		return exitBroken
	}
	if task[0] == taskRead {
		return read(peers[i], task[2])
	}
	if err := write(peers[i], task[2], task[0]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitBroken
	}
	return exitRight
}

const keys = 600

func key(i int) []byte { return fmt.Appendf(nil, "key%06d", i) }

func value(i int) []byte {
	rng := rand.New(rand.NewPCG(uint64(i), 0))
	v := make([]byte, 100+rng.IntN(401))
	for j := range v {
		v[j] = byte(rng.Uint32())
	}
	return v
}

// write makes a store with all keys. They are put after it was opened once before:
// the first log of a new Pebble has an older format than the one that was asked for.
func write(p peer, dir, end string) error {
	d, err := p.open(dir)
	if err == nil {
		err = d.Close()
	}
	if err != nil {
		return err
	}
	if d, err = p.open(dir); err != nil {
		return err
	}
	for i := range keys {
		if err := d.Put(key(i), value(i)); err != nil {
			return err
		}
	}
	if end == taskKill {
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return d.Close()
}

// read opens a store and reads all that is there, by key and in order.
func read(p peer, dir string) int {
	d, err := p.open(dir)
	if err != nil {
		return exitError
	}
	wrong := 0
	for i := range keys {
		v, err := d.Get(key(i))
		if err != nil {
			return exitError
		}
		if !bytes.Equal(v, value(i)) {
			wrong++
		}
	}
	n := 0
	err = d.Walk(func(k, v []byte) {
		if n >= keys || !bytes.Equal(k, key(n)) || !bytes.Equal(v, value(n)) {
			wrong++
		}
		n++
	})
	switch {
	case err != nil:
		return exitError
	case wrong > 0 || n != keys:
		return exitWrong
	}
	return exitRight
}
