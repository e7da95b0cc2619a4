package blockrec

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Loop is a loop device on a file.
type Loop struct{ dev *os.File }

// Attach puts a free loop device with blocks of BlockBytes on a file. The kernel
// detaches it when nobody has it open any more, after the death of the process
// too.
func Attach(name string) (*Loop, error) {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("free loop device: %w", err)
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{
			Fd:   uint32(file.Fd()),
			Size: BlockBytes,
			Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR},
		})
		if err == nil {
			return &Loop{dev}, nil
		}
		err = errors.Join(err, dev.Close())
		if !errors.Is(err, unix.EBUSY) { // somebody else took it meanwhile
			return nil, fmt.Errorf("%s on %s: %w", dev.Name(), name, err)
		}
	}
}

// Path is the name of the device.
func (l *Loop) Path() string { return l.dev.Name() }

// Detach gives the device back. It must not be mounted.
func (l *Loop) Detach() error { return l.dev.Close() }
