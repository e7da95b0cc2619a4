package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

// An output is a file that a flag names, or none. What is written goes to a file beside it,
// which then takes its place: what was there stays until something whole is.
type output struct{ flag, name string }

func (o *output) define(fs *pflag.FlagSet, flag, usage string) {
	o.flag = flag
	fs.StringVar(&o.name, flag, "", usage)
}

func (o *output) part() string { return o.name + ".part" }

// check makes sure that the file can be made, and makes none.
func (o *output) check() error {
	if target, err := filepath.EvalSymlinks(o.name); err == nil {
		o.name = target // a link stays one
	}
	if info, err := os.Stat(o.name); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("--%s: %s is there and no regular file", o.flag, o.name)
	}
	f, err := os.Create(o.part())
	if err != nil {
		return fmt.Errorf("--%s: %w", o.flag, err)
	}
	return errors.Join(f.Close(), os.Remove(o.part()))
}

// save has the file written, if there is to be one.
func (o *output) save(write func(io.Writer) error) error {
	if o.name == "" {
		return nil
	}
	f, err := os.Create(o.part())
	if err != nil {
		return fmt.Errorf("--%s: %w", o.flag, err)
	}
	if err = errors.Join(write(f), f.Close()); err == nil {
		err = os.Rename(o.part(), o.name)
	}
	if err != nil {
		return fmt.Errorf("--%s: %w", o.flag, errors.Join(err, os.Remove(o.part())))
	}
	return nil
}

// checkOutputs makes sure of all files before a run: it would be a pity after it.
func checkOutputs(outputs ...*output) error {
	flags := map[string]string{}
	for _, o := range outputs {
		if o.name == "" {
			continue
		}
		if err := o.check(); err != nil {
			return err
		}
		path, err := filepath.Abs(o.name)
		if err != nil {
			return err
		}
		if other := flags[path]; other != "" {
			return fmt.Errorf("--%s and --%s both name %s", other, o.flag, o.name)
		}
		flags[path] = o.flag
	}
	return nil
}
