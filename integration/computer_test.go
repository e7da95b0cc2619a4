package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"faultline/integration/internal/rig"
	"faultline/internal/machine"
)

const (
	// machineWatchdog ends a machine that hangs. It decides nothing else.
	machineWatchdog = 10 * time.Minute

	// machineDiskBytes is enough for the store, a journal of ext4, and the
	// temporary files of tests.
	machineDiskBytes = 96 << 20
)

// kernels returns the kernels of the tests of whole machines. They are downloaded
// by who calls the tests, since a test does not use the network:
//
//	apt-get download linux-image-6.1.0-56-cloud-amd64
//	dpkg -x linux-image-*.deb /tmp/kernels
//	FAULTLINE_KERNELS=/tmp/kernels go test ./integration -run Machine
func kernels(t *testing.T) []machine.Kernel {
	t.Helper()
	root := os.Getenv("FAULTLINE_KERNELS")
	if root == "" && os.Getenv("CI") == "" {
		t.Skip("FAULTLINE_KERNELS names no folder with kernels")
	}
	all, err := machine.Kernels(root)
	if err != nil {
		t.Fatalf("FAULTLINE_KERNELS: %v", err)
	}
	for _, tool := range []string{"qemu-system-x86_64", "mkfs.ext4", "xz"} {
		rig.Needs(t, tool)
	}
	return all
}

// A computer is what the starts of one machine have in common.
type computer struct {
	t      *testing.T
	kernel machine.Kernel
	dir    string
	disk   *machine.Disk
}

// newComputer makes one with an empty file system on its disk. The files are those
// of the initramfs beside /init, by name.
func newComputer(t *testing.T, kernel machine.Kernel, files map[string][]byte) *computer {
	t.Helper()
	c := &computer{t: t, kernel: kernel, dir: t.TempDir()}
	var initramfs machine.Initramfs
	initramfs.Add("init", goBuild(t, "build", "faultline/internal/guest"))
	for name, content := range files {
		initramfs.Add(name, content)
	}
	if err := initramfs.AddKernel(kernel); err != nil {
		t.Fatal(err)
	}
	if err := initramfs.WriteFile(filepath.Join(c.dir, "initramfs")); err != nil {
		t.Fatal(err)
	}
	c.newDisk()
	return c
}

// goBuild makes a binary that needs no library, and returns it. How is "build", or
// "test", "-c" for the tests of a package.
func goBuild(t *testing.T, how ...string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "binary")
	pkg := how[len(how)-1]
	cmd := exec.Command("go", append(how[:len(how)-1:len(how)-1], "-o", out, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, text)
	}
	binary, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// newDisk gives the computer a disk with an empty ext4.
func (c *computer) newDisk() {
	c.t.Helper()
	name := filepath.Join(c.dir, "image")
	image, err := os.Create(name)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := errors.Join(image.Truncate(machineDiskBytes), image.Close()); err != nil {
		c.t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-b", "4096", name).CombinedOutput(); err != nil {
		c.t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		c.t.Fatal(err)
	}
	c.disk = machine.NewDisk(content)
}

// A start is a machine that runs, and what it has said: see internal/guest.
type start struct {
	c       *computer
	machine *machine.Machine
	console []string
	said    map[string]bool // first words of lines

	kernel, refusal  string // what it has said of these
	recovered, acked uint64 // the last of these numbers
}

// start switches the computer on. The text is the environment of its /init.
func (c *computer) start(format string, args ...any) *start {
	c.t.Helper()
	m, err := machine.Start(machine.Config{
		Kernel:    c.kernel,
		Initramfs: filepath.Join(c.dir, "initramfs"),
		Env:       fmt.Sprintf(format, args...),
		Disk:      c.disk,
		Dir:       c.dir,
		Watchdog:  machineWatchdog,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	s := &start{c: c, machine: m, said: map[string]bool{}}
	c.t.Cleanup(s.tell)
	return s
}

// tell ends the machine, if the test has not, and shows what it has said last if
// the test has failed.
func (s *start) tell() {
	if s.machine != nil {
		s.cut()
	}
	if s.c.t.Failed() {
		s.c.t.Logf("the console of a machine:\n%s", strings.Join(s.console[max(0, len(s.console)-60):], "\n"))
	}
}

// note keeps a line of the console and understands it.
func (s *start) note(line string) {
	s.console = append(s.console, line)
	word, rest, _ := strings.Cut(line, " ")
	s.said[word] = true
	var err error
	switch word {
	case "KERNEL":
		s.kernel = rest
	case "REFUSED":
		s.refusal = rest
	case "RECOVERED":
		_, err = fmt.Sscan(rest, &s.recovered)
	case "ACK":
		_, err = fmt.Sscan(rest, &s.acked)
	}
	if err != nil {
		s.c.t.Errorf("console: %q: %v", line, err)
	}
}

// readUntil reads the console until that is true.
func (s *start) readUntil(done func() bool) {
	s.c.t.Helper()
	for !done() {
		line, ok := <-s.machine.Lines
		if !ok {
			s.c.t.Fatal("the machine has ended, by itself or by the watchdog")
		}
		s.note(line)
	}
}

// readUntilClosed reads the console until ch is closed.
func (s *start) readUntilClosed(ch <-chan struct{}) {
	s.c.t.Helper()
	for {
		select {
		case <-ch:
			return
		case line, ok := <-s.machine.Lines:
			if !ok {
				s.c.t.Fatal("the machine has ended, by itself or by the watchdog")
			}
			s.note(line)
		}
	}
}

// cut cuts the power, and reads what the machine has said before.
func (s *start) cut() {
	s.c.t.Helper()
	rest, err := s.machine.CutPower()
	s.machine = nil
	if err != nil {
		s.c.t.Errorf("disk: %v", err)
	}
	for _, line := range rest {
		s.note(line)
	}
	if s.said["FAULT"] {
		s.c.t.Error("the machine reports a fault")
	}
}

// finish lets the machine come to its end.
func (s *start) finish() {
	s.c.t.Helper()
	for line := range s.machine.Lines {
		s.note(line)
	}
	s.cut()
	if !s.said["END"] && !s.said["REFUSED"] {
		s.c.t.Error("the machine has not come to its end")
	}
}
