package main

import (
	"fmt"
	"io"
	"strings"
)

// document writes docs/configuration.md: the table of settings, as they are by default.
func (c *config) document(w io.Writer) error {
	fmt.Fprint(w, `# Configuration of kvd

<!-- Written by go test ./cmd/kvd -run TestDocument -rewrite, from cmd/kvd/settings.go. -->

Every setting can be given in three ways. A flag comes before the environment, and that
before the file:

| where | form |
| --- | --- |
| a flag of `+"`kvd serve`"+` | `+"`--maxclients 100`"+` |
| the environment | `+"`KVD_MAXCLIENTS=100`"+` |
| a TOML file, which `+"`--config` or `KVD_CONFIG`"+` names | `+"`maxclients = 100`"+` |

Settings that Redis has too have its names and its meaning. A key of the file that is no
setting, or a value that is none, is an error with the number of the line, and kvd does
not start; a name in the environment that begins with KVD_ and is no setting is a warning
in the log. `+"`kvd config`"+`, with the flags of serve, prints all settings and where each comes
from, in the form of the file.

Sizes are in bytes, or with a unit: 1GiB and 1024MiB are the same, 1GB is a little less.
Times are in seconds, or with a unit: 300, 5m, 500ms. Lists have blanks between their
elements; in the file they can be arrays. A file may say `+"`true`"+` for yes and `+"`false`"+` for no.
`)
	for _, g := range c.groups() {
		if g.title == "" {
			continue
		}
		fmt.Fprintf(w, "\n## %s\n\n| setting | values | default | |\n| --- | --- | --- | --- |\n", g.title)
		for _, s := range g.settings {
			def := s.value.String()
			if def == "" {
				def = s.none
			} else {
				def = "`" + def + "`"
			}
			fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", s.name, strings.ReplaceAll(s.value.Type(), "|", `\|`), def, s.about)
		}
	}
	_, err := fmt.Fprint(w, `
## Exit status

| status | of kvd serve | of the other commands |
| --- | --- | --- |
| 0 | it was ended by SIGTERM, SIGINT or SHUTDOWN, and all is on disk | what was asked for is so |
| 1 | the machine or the store does not allow it; the error is one line on stderr | something is wrong: a damaged store, a machine without userfaultfd |
| 2 | a flag, a name in the environment or a line of the file is wrong | the same |
`)
	return err
}
