package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// A level says what a finding means for a store.
type level string

const (
	fine  level = "ok"
	note  level = "note" // it works, and somebody may want to know
	warn  level = "warn" // it works, and not as well as it could
	fatal level = "FAIL" // it cannot work
)

// A finding is one line of kvd doctor.
type finding struct {
	Name   string `json:"name"`
	Level  level  `json:"level"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// A diagnosis is all of them.
type diagnosis struct {
	OK       bool      `json:"ok"`
	Dir      string    `json:"dir"`
	Findings []finding `json:"findings"`
}

func (d *diagnosis) add(name string, l level, remedy, text string, args ...any) {
	d.Findings = append(d.Findings, finding{name, l, fmt.Sprintf(text, args...), remedy})
	d.OK = d.OK && l != fatal
}

func newDoctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [DIR]",
		Short: "Tell whether a store works on this machine, and what to change if not",
		Long: `Tell whether a store works here, as this user and in this container: which way to a
userfaultfd is open, what the directory's file system can do, memory, open files. What
is wrong is told with what to change. At last it makes a small store within DIR, tries
it, and removes it.

DIR is the directory that serve is given. If it does not exist, the one is looked at in
which it would be made. The exit status is 1 if a store cannot work.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d := diagnosis{OK: true, Dir: string(newConfig().dir)}
			if len(args) > 0 {
				d.Dir = args[0]
			}
			d.examine()
			show := d.print
			if asJSON {
				show = d.printJSON
			}
			if err := show(cmd.OutOrStdout()); err != nil {
				return err
			}
			if !d.OK {
				return errors.New("doctor: a store cannot work here")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return cmd
}

func (d *diagnosis) print(w io.Writer) error {
	for _, f := range d.Findings {
		fmt.Fprintf(w, "%-4s  %-12s  %s\n", f.Level, f.Name, f.Text)
		for _, line := range strings.Split(f.Remedy, "\n") {
			if line != "" {
				fmt.Fprintf(w, "%22s%s\n", "", line)
			}
		}
	}
	verdict := "a store works here"
	if !d.OK {
		verdict = "a store cannot work here"
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}

func (d *diagnosis) printJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(d)
}
