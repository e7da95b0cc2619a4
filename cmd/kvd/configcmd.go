package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// configEnv has the name of the file where the flag --config is not given.
const configEnv = "KVD_CONFIG"

// A configured is a command that takes the settings of kvd serve.
type configured struct {
	cmd    *cobra.Command
	config *config
	file   string
}

// configure gives cmd the flags of all settings, in groups, and --config.
func configure(cmd *cobra.Command) *configured {
	c := &configured{cmd: cmd, config: newConfig()}
	sets := c.config.flags()
	for _, fs := range sets {
		cmd.Flags().AddFlagSet(fs)
	}
	cmd.Flags().StringVar(&c.file, "config", "", "")
	cmd.Flags().SortFlags = false
	cmd.SetUsageFunc(func(cmd *cobra.Command) error { return printUsage(cmd, sets) })
	return c
}

// load reads the environment and the file. unknown are names of the environment that
// look like settings.
func (c *configured) load() (unknown []string, err error) {
	if c.file == "" {
		c.file = os.Getenv(configEnv)
	}
	return c.config.load(c.cmd.Flags(), c.file, os.Environ())
}

// printUsage is the end of --help.
func printUsage(cmd *cobra.Command, sets []*pflag.FlagSet) error {
	w := cmd.OutOrStderr()
	fmt.Fprintf(w, "Usage:\n  %s\n", cmd.UseLine())
	for _, fs := range sets {
		if fs.HasAvailableFlags() {
			fmt.Fprintf(w, "\n%s:\n%s", fs.Name(), fs.FlagUsagesWrapped(100))
		}
	}
	_, err := fmt.Fprintf(w, `
Each flag can also stand in the environment, as KVD_MAXCLIENTS for --maxclients, or in a
TOML file, as maxclients = 100, which --config or %s names. A flag comes before the
environment, and that before the file.
`, configEnv)
	return err
}

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config [flags of serve]",
		Short: "Print the settings that serve would have, and where each comes from",
		Long: `Print the settings that serve would have with the same flags, environment and file,
as a TOML file. A comment tells where each value comes from: a flag, the environment,
the file, or the default. Nothing is opened or changed. The exit status is 2 if a
setting is wrong.`,
		Args: cobra.NoArgs,
	}
	c := configure(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		unknown, err := c.load()
		if err == nil {
			err = c.config.check()
		}
		if err != nil {
			return err
		}
		for _, name := range unknown {
			fmt.Fprintf(cmd.ErrOrStderr(), "kvd: %s in the environment is no setting\n", name)
		}
		return c.config.print(cmd.OutOrStdout())
	}
	return cmd
}

// print writes the settings as a file that loadFile reads.
func (c *config) print(w io.Writer) error {
	for i, g := range c.groups() {
		if g.title == "" {
			continue
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "# %s\n", g.title)
		for _, s := range g.settings {
			origin := c.origin[s.name]
			if origin == "" {
				origin = fromDefault
			}
			line := s.name + " = " + s.toml()
			if s.value.String() == "" && s.none != "" {
				line = "# " + line + " # " + s.none + ","
			} else {
				line += " #"
			}
			if _, err := fmt.Fprintf(w, "%s %s\n", line, origin); err != nil {
				return err
			}
		}
	}
	return nil
}

// toml returns the value as a file has it.
func (s *setting) toml() string {
	v := s.value.String()
	switch s.value.Type() {
	case "number", "octal":
		return v
	case "seconds":
		if _, err := strconv.Atoi(v); err == nil {
			return v
		}
	case "yes|no":
		return strconv.FormatBool(v == "yes")
	case "hosts", "addresses":
		list := words(v)
		for i, w := range list {
			list[i] = strconv.Quote(w)
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	return strconv.Quote(v)
}
