package bench

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// syncfs writes all that is dirty on the file system of f.
func syncfs(f *os.File) error { return unix.Syncfs(int(f.Fd())) }

// dieWithParent has the child killed when this process ends, however that is.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
