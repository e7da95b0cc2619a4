//go:build !linux

package figure

import "errors"

func (m *Machine) ask(dir string) error { return errors.ErrUnsupported }
