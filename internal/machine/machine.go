// Package machine runs a whole computer in qemu, with its processor emulated, a
// kernel of one's choice, and a disk that forgets what was not flushed when the
// power is cut. It is for tests.
//
//	test                                             qemu
//	  Disk: medium <-flush- cache <---- NBD, socket -- virtio-blk <- ext4 <- the store
//	  Lines <------------------------------ serial -- console <----------- "ACK 7"
//	  CutPower: kill -9, then Disk.Cut
//
// To kill qemu alone is no power cut: all that it has written stays. Here the disk
// is in the test, which knows what was flushed, and draws what of the rest
// survives. Everything that the test has read on the console before the end was
// said by a machine whose flushes the disk had answered.
//
// If the test dies, the machine loses its disk, and what runs in it should end for
// that: internal/guest does.
package machine

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Config says what a machine is made of.
type Config struct {
	Kernel    Kernel
	Initramfs string // path; its /init is the first process
	Env       string // of /init: assignments, with blanks between them
	Disk      *Disk  // /dev/vda
	Dir       string // for the socket; nothing else uses it meanwhile

	// Watchdog ends a machine that runs for longer, as a power cut does.
	Watchdog time.Duration
}

// A Machine is running.
type Machine struct {
	// Lines are those of the console. They must be read to their end; the channel
	// is closed when the machine has ended.
	Lines <-chan string

	cmd    *exec.Cmd
	cancel context.CancelFunc // kills it
	served chan error         // the disk has had its last request
}

// qemuArgs are the same for all machines. Nothing is there that it does not need;
// -accel tcg emulates, so that no virtualisation is needed.
const qemuArgs = "-accel tcg,thread=multi -cpu max -smp 2 -m 512 -nodefaults -no-user-config" +
	" -display none -serial stdio -no-reboot"

// kernelArgs: a panic ends the machine; the emulated processor has no side channels
// to close, and a clock that can be trusted; the timer may be late on a busy host.
const kernelArgs = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check "

// Start switches a machine on.
func Start(c Config) (_ *Machine, err error) {
	socket := filepath.Join(c.Dir, "disk")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Watchdog)
	defer func() {
		if err != nil {
			cancel()
			listener.Close()
		}
	}()
	lines := make(chan string)
	m := &Machine{Lines: lines, cancel: cancel, served: make(chan error, 1)}
	m.cmd = exec.CommandContext(ctx, "qemu-system-x86_64", append(strings.Fields(qemuArgs),
		"-kernel", c.Kernel.Image, "-initrd", c.Initramfs, "-append", kernelArgs+c.Env,
		"-blockdev", "driver=nbd,node-name=disk,server.type=unix,server.path="+socket,
		"-device", "virtio-blk-pci,drive=disk")...)
	console, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.cmd.Stderr = m.cmd.Stdout
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { m.served <- accept(listener, c.Disk) }()
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(console); s.Scan(); {
			lines <- strings.TrimRight(s.Text(), "\r")
		}
		listener.Close() // if it has never asked for its disk
	}()
	return m, nil
}

// accept serves the one client that comes.
func accept(listener net.Listener, d *Disk) error {
	conn, err := listener.Accept()
	listener.Close()
	if err != nil {
		return fmt.Errorf("the machine has not asked for its disk: %w", err)
	}
	defer conn.Close()
	return d.serve(conn)
}

// CutPower ends the machine at this instant, if it has not ended before, and
// returns what it had said. The disk has had all its requests then, and has still
// its cache: see [Disk.Cut].
func (m *Machine) CutPower() (rest []string, err error) {
	m.cancel() // kills
	for line := range m.Lines {
		rest = append(rest, line)
	}
	_ = m.cmd.Wait() // it was killed, and says so
	return rest, <-m.served
}
