//go:build !linux

package bench

import (
	"errors"
	"os"
)

func (m *Machine) ask(dir string) error { return errors.ErrUnsupported }

func syncfs(f *os.File) error { return errors.ErrUnsupported }

func cpuNow() cpuTime { return cpuTime{} }
