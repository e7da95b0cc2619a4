//go:build !linux

package ltm

import (
	"errors"
	"os"
)

func shareCounters() (*os.File, []counter, error) { return nil, nil, errors.ErrUnsupported }

func inheritCounters() ([]counter, error) { return nil, errors.ErrUnsupported }

func evict(string) (int64, error) { return 0, errors.ErrUnsupported }
