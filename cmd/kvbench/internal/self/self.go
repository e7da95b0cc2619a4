// Package self starts the processes in which kvbench measures what cannot be measured in
// its own: kvbench again, with a command that is not in its help.
package self

import (
	"context"
	"os/exec"
)

// Command returns the command line, to be started. The process is killed when ctx ends, and
// when this process does, however that is.
func Command(ctx context.Context, line []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	dieWithParent(cmd)
	return cmd
}
