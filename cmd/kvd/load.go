package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"
)

// Where a value can come from, the stronger first: what it is in a flag counts, then
// what it is in the environment, then in the file.
const (
	fromFlag        = "flag"
	fromEnvironment = "environment"
	fromFile        = "file"
	fromDefault     = "default"
)

// load completes c, whose flags have been parsed, from the environment and from the
// file, which may be "". unknown are names of the environment that begin as settings
// do and are none.
func (c *config) load(flags *pflag.FlagSet, file string, environ []string) (unknown []string, err error) {
	known := map[string]*setting{}
	c.each(func(s *setting) {
		known[s.name] = s
		if flags.Changed(s.name) {
			c.origin[s.name] = fromFlag
		}
	})
	if unknown, err = c.loadEnvironment(known, environ); err != nil || file == "" {
		return unknown, err
	}
	return unknown, c.loadFile(known, file)
}

func (c *config) loadEnvironment(known map[string]*setting, environ []string) (unknown []string, err error) {
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "KVD_") || name == configEnv {
			continue
		}
		s := known[strings.ToLower(strings.ReplaceAll(name[len("KVD_"):], "_", "-"))]
		if s == nil {
			unknown = append(unknown, name)
			continue
		}
		if c.origin[s.name] != "" {
			continue
		}
		if err := s.value.Set(value); err != nil {
			return nil, usageError{fmt.Errorf("%s=%s: %w%s", name, value, err, serviceHint(value))}
		}
		c.origin[s.name] = fromEnvironment
	}
	sort.Strings(unknown)
	return unknown, nil
}

// serviceHint explains a value that Kubernetes has made: of a service with the name kvd
// it tells each pod in KVD_PORT.
func serviceHint(value string) string {
	if strings.HasPrefix(value, "tcp://") {
		return " (Kubernetes sets it for a service of the name kvd: set enableServiceLinks: false)"
	}
	return ""
}

// loadFile reads a TOML file that has the settings by their names, and no tables.
func (c *config) loadFile(known map[string]*setting, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var keys map[string]any
	if _, err := toml.Decode(string(b), &keys); err != nil {
		if p := (toml.ParseError{}); errors.As(err, &p) {
			return usageError{fmt.Errorf("%s:%d: %s", file, p.Position.Line, p.Message)}
		}
		return usageError{fmt.Errorf("%s: %w", file, err)}
	}
	spare := map[string]*setting{} // takes what something stronger has set
	newConfig().each(func(s *setting) { spare[s.name] = s })
	var faults []fault
	for name, value := range keys {
		into := known
		if c.origin[name] != "" {
			into = spare
		}
		if err := c.fromFile(into[name], value); err != nil {
			faults = append(faults, fault{lineOf(b, name), fmt.Errorf("%s: %w", name, err)})
		}
	}
	if len(faults) == 0 {
		return nil
	}
	sort.Slice(faults, func(i, j int) bool { return faults[i].line < faults[j].line })
	var all []error
	for _, f := range faults {
		all = append(all, fmt.Errorf("%s:%d: %w", file, f.line, f.err))
	}
	return usageError{errors.Join(all...)}
}

// A fault is what is wrong with a line.
type fault struct {
	line int
	err  error
}

var errUnknown = errors.New("there is no such setting")

// fromFile sets one setting.
func (c *config) fromFile(s *setting, value any) error {
	if s == nil {
		return errUnknown
	}
	text, err := tomlText(value)
	if err != nil {
		return err
	}
	if err := s.value.Set(text); err != nil {
		return fmt.Errorf("%q: %w", text, err)
	}
	if c.origin[s.name] == "" {
		c.origin[s.name] = fromFile
	}
	return nil
}

// tomlText returns a value of a file as it would stand in a flag.
func tomlText(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case bool:
		if v {
			return "yes", nil
		}
		return "no", nil
	case []any:
		var parts []string
		for _, e := range v {
			part, ok := e.(string)
			if !ok {
				return "", errors.New("want a list of strings")
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, " "), nil
	case map[string]any, []map[string]any:
		return "", errors.New("there is no such table")
	}
	return "", fmt.Errorf("want a string, a whole number, a boolean or a list of strings")
}

// lineOf returns the line, from 1 on, in which a key or a table of a file begins.
func lineOf(file []byte, name string) int {
	q := regexp.QuoteMeta(name)
	at := regexp.MustCompile(`(?m)^[ \t]*(\[+[ \t]*)?["']?` + q + `["']?[ \t]*[=.\]]`).FindIndex(file)
	if at == nil {
		return 1
	}
	return 1 + strings.Count(string(file[:at[0]]), "\n")
}
