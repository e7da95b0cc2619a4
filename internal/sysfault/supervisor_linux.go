//go:build amd64 || arm64

package sysfault

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Answer is what becomes of a call.
type Answer struct {
	kind  answerKind
	errno unix.Errno
}

type answerKind uint8

const (
	run answerKind = iota
	fail
	half
	pretend
	kill
)

var (
	// Run lets the kernel make the call.
	Run = Answer{kind: run}
	// Half makes the first half of the bytes of a pwrite64, which returns that
	// many: a short write. Other calls, and a write of one byte, run.
	Half = Answer{kind: half}
	// Pretend does nothing, and returns what success would: all bytes of a
	// write, else 0. It is the lie of a broken disk.
	Pretend = Answer{kind: pretend}
	// Kill ends the process by SIGKILL: this call is not made, and no later one.
	// What other threads were let run just before may or may not be.
	Kill = Answer{kind: kill}
)

// Fail makes the call return errno, and do nothing.
func Fail(errno unix.Errno) Answer { return Answer{kind: fail, errno: errno} }

// A Supervisor answers the calls of one program.
type Supervisor struct {
	process  *os.Process
	listener int
	decide   func(Call) Answer
	ended    chan struct{}
	err      error // valid once ended is closed
	killed   bool
}

// Start starts cmd, with decide asked about every traced call, also those of the
// Go runtime before main. decide is called by one goroutine, and the thread that
// makes the call waits for it. The caller has called Shim before, and calls Wait
// of the Supervisor after that of cmd.
func Start(cmd *exec.Cmd, decide func(Call) Answer) (*Supervisor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "sysfault")
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	cmd.Env = append(cmd.Environ(),
		fmt.Sprintf("%s=%d", socketEnv, 2+len(cmd.ExtraFiles)),
		fmt.Sprintf("%s=%s", programEnv, cmd.Path))
	cmd.Path = self
	err = cmd.Start()
	theirs.Close() // so that an end of the shim shows
	if err != nil {
		return nil, err
	}
	listener, err := receiveFD(pair[0])
	if err != nil {
		return nil, errors.Join(fmt.Errorf("filter of %s: %w", cmd.Args[0], err), cmd.Process.Kill(), cmd.Wait())
	}
	s := &Supervisor{process: cmd.Process, listener: listener, decide: decide, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		defer unix.Close(listener)
		s.err = s.serve()
	}()
	return s, nil
}

// receiveFD takes the file that the shim sends.
func receiveFD(socket int) (int, error) {
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, b[:], oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return 0, err
	}
	if len(messages) != 1 {
		return 0, errors.New("the process ended before it had one")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return 0, err
	}
	return fds[0], nil
}

// Wait returns when the program has ended, and why it could not be supervised to
// its end, if so.
func (s *Supervisor) Wait() error {
	<-s.ended
	return s.err
}

// serve answers until the last process under the filter has ended. After an
// error the calls that are stopped fail with ENOSYS, as the listener is closed.
func (s *Supervisor) serve() error {
	for {
		poll := []unix.PollFd{{Fd: int32(s.listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return fmt.Errorf("poll the listener: %w", err)
		}
		switch events := poll[0].Revents; {
		case events&unix.POLLIN != 0:
			if err := s.answer(); err != nil {
				return err
			}
		case events&(unix.POLLHUP|unix.POLLERR) != 0:
			return nil
		}
	}
}

// answer takes one notification and answers it.
func (s *Supervisor) answer() error {
	var n notification
	ok, err := n.receive(s.listener)
	if err != nil || !ok || s.killed { // who is killed waits for the end
		return err
	}
	c := newCall(&n)
	a := s.decide(c)
	r := response{id: n.id}
	switch a.kind {
	case run:
		r.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
	case fail:
		r.error = -int32(a.errno)
	case pretend:
		if c.Class() == Write {
			r.val = int64(c.bytes())
		}
	case half:
		if n.nr != unix.SYS_PWRITE64 || c.bytes() < 2 {
			r.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
			break
		}
		made, err := c.writeHalf()
		if err != nil {
			return fmt.Errorf("half of a write to %s: %w", c.Path, err)
		}
		r.val = int64(made)
	case kill:
		s.killed = true
		return s.process.Kill()
	}
	return r.send(s.listener)
}

// A notification is struct seccomp_notif.
type notification struct {
	id    uint64
	pid   uint32 // of the thread
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// A response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	error int32 // negative
	flags uint32
}

var (
	_ [80]struct{} = [unsafe.Sizeof(notification{})]struct{}{}
	_ [24]struct{} = [unsafe.Sizeof(response{})]struct{}{}
)

// receive takes the next notification; ok is false if there is none after all:
// the thread has ended, or got a signal.
func (n *notification) receive(listener int) (ok bool, err error) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(n)))
	switch errno {
	case 0:
		return true, nil
	case unix.EINTR, unix.ENOENT, unix.ENOTCONN:
		return false, nil
	}
	return false, fmt.Errorf("receive a notification: %w", errno)
}

// send answers; that the thread has ended meanwhile is no error.
func (r *response) send(listener int) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(r)))
	if errno != 0 && errno != unix.ENOENT {
		return fmt.Errorf("answer a notification: %w", errno)
	}
	return nil
}
