package blockrec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// serveEnv has the directory that this process serves, if it is such a one.
const serveEnv = "BLOCKREC_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveEnv); dir != "" {
		if err := serveMain(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func serveMain(dir string) error {
	s, err := Mount(dir, testDiskBytes)
	if err != nil {
		return err
	}
	return errors.Join(s.Serve(pipe{os.Stdin, os.Stdout}), s.Unmount())
}

// A pipe is two pipes that are used as a connection.
type pipe struct {
	io.ReadCloser
	io.WriteCloser
}

func (p pipe) Close() error { return errors.Join(p.WriteCloser.Close(), p.ReadCloser.Close()) }

// serve starts a Server in a process of its own.
func serve(t *testing.T) (dir string, c *Client) {
	t.Helper()
	for _, name := range []string{"/dev/fuse", "/dev/loop-control"} {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil && os.Getenv("CI") == "" {
			t.Skip(err)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	dir = t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), serveEnv+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	c = NewClient(pipe{out, in})
	if _, err := c.Log(); err != nil { // there is an answer when the disk is mounted
		t.Fatal(err)
	}
	return dir, c
}

// on puts a loop device on the disk and calls fn with it.
func on(t *testing.T, dir string, fn func(dev *os.File)) {
	t.Helper()
	loop, err := Attach(filepath.Join(dir, DiskName))
	if err != nil {
		t.Fatal(err)
	}
	dev, err := os.OpenFile(loop.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fn(dev)
	if err := errors.Join(dev.Close(), loop.Detach()); err != nil {
		t.Fatal(err)
	}
}

// TestServe writes through a loop device, once with a sync and once without, and
// looks at what is recorded, and at what is there after a power cut.
func TestServe(t *testing.T) {
	dir, c := serve(t)
	first, second := bytes.Repeat([]byte{1}, BlockBytes), bytes.Repeat([]byte{2}, BlockBytes)
	marks, err := os.OpenFile(filepath.Join(dir, MarksName), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer marks.Close()
	on(t, dir, func(dev *os.File) {
		if _, err := dev.WriteAt(first, 2*BlockBytes); err != nil {
			t.Fatal(err)
		}
		if err := dev.Sync(); err != nil {
			t.Fatal(err)
		}
		if _, err := marks.WriteString("synced"); err != nil {
			t.Fatal(err)
		}
		if _, err := dev.WriteAt(second, 2*BlockBytes); err != nil {
			t.Fatal(err)
		}
	})
	log, err := c.Log()
	if err != nil {
		t.Fatal(err)
	}
	write := Op{Kind: Write, Off: 2 * BlockBytes, Len: BlockBytes}
	want := []Op{{Kind: Flush}, write, {Kind: Flush}, {Kind: Mark, Text: "synced"}, write} // to attach is to flush
	if !slices.Equal(log, want) {
		t.Fatalf("log %+v, want %+v", log, want)
	}
	for _, state := range []struct {
		state State
		bytes []byte
	}{
		{State{}, make([]byte, BlockBytes)},
		{State{Durable: 4}, first},
		{State{Durable: 4, Kept: []Piece{{4, 0, BlockBytes}}}, second},
		{State{Durable: 4, Kept: []Piece{{4, 0, SectorBytes}}}, slices.Concat(second[:SectorBytes], first[SectorBytes:])},
	} {
		if err := c.Show(state.state); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, BlockBytes)
		on(t, dir, func(dev *os.File) {
			if _, err := dev.ReadAt(got, 2*BlockBytes); err != nil {
				t.Fatal(err)
			}
		})
		if !bytes.Equal(got, state.bytes) {
			t.Errorf("%+v: wrong bytes", state.state)
		}
	}
}
