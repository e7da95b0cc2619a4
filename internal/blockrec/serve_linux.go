package blockrec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	// DiskName is the file that is the disk.
	DiskName = "disk"
	// MarksName is the file each of whose writes is a Mark.
	MarksName = "marks"
)

// A Server is a disk that is mounted, with those who have it open.
type Server struct {
	disk *disk
	dir  string

	mu     sync.Mutex
	opens  int
	opened sync.Cond // opens has changed
}

// Mount mounts on dir a directory with a disk of size bytes, all zero. It needs
// root and /dev/fuse.
func Mount(dir string, size int64) (*Server, error) {
	s := &Server{disk: newDisk(size), dir: dir}
	s.opened.L = &s.mu
	conn, err := connect(dir)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	root := &fs.Inode{}
	_, err = fs.Mount(fmt.Sprintf("/dev/fd/%d", conn), root, &fs.Options{
		MountOptions: fuse.MountOptions{MaxWrite: maxWrite},
		OnAdd: func(ctx context.Context) {
			file := fs.StableAttr{Mode: syscall.S_IFREG}
			root.AddChild(DiskName, root.NewPersistentInode(ctx, &diskFile{server: s}, file), false)
			root.AddChild(MarksName, root.NewPersistentInode(ctx, &marksFile{server: s}, file), false)
		},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve %s: %w", dir, err), s.Unmount(), unix.Close(conn))
	}
	return s, nil
}

// maxWrite is the most bytes of one request.
const maxWrite = 128 << 10

// connect mounts and returns the connection to the kernel. A process that has it
// open keeps it alive, and who waits for an answer then waits for ever: so no
// child may inherit it. That is why it is not left to the library.
func connect(dir string) (fd int, err error) {
	fd, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0,max_read=%d", fd, unix.S_IFDIR, maxWrite)
	if err := unix.Mount("blockrec", dir, "fuse.blockrec", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// Serve does what a Client at the other end of conn asks for, until conn ends.
func (s *Server) Serve(conn io.ReadWriteCloser) error {
	r := rpc.NewServer()
	if err := r.RegisterName("Disk", calls{s}); err != nil {
		return err
	}
	r.ServeConn(conn)
	return nil
}

// Unmount ends the disk. No loop device may be on it.
func (s *Server) Unmount() error { return unix.Unmount(s.dir, 0) }

// patience is how long Show waits for a loop device to let go of the disk.
const patience = 10 * time.Second

// idle waits until nobody has the disk open: the kernel tells of a close later
// than it returns from it, and may have had something to write before.
func (s *Server) idle() error {
	late := false
	timer := time.AfterFunc(patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.opened.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.opens > 0 && !late {
		s.opened.Wait()
	}
	if s.opens > 0 {
		return fmt.Errorf("the disk is open, still after %v", patience)
	}
	return nil
}

func (s *Server) open(change int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opens += change
	s.opened.Broadcast()
}

// calls are those of a Client.
type calls struct{ server *Server }

func (c calls) Mark(text string, _ *struct{}) error {
	c.server.disk.mark(text)
	return nil
}

func (c calls) Ops(recovery bool, ops *[]Op) error {
	if err := c.server.idle(); err != nil {
		return err
	}
	*ops = c.server.disk.ops(recovery)
	return nil
}

func (c calls) Show(state State, _ *struct{}) error {
	if err := c.server.idle(); err != nil {
		return err
	}
	return c.server.disk.show(state)
}

func (c calls) ShowAgain(state State, _ *struct{}) error {
	if err := c.server.idle(); err != nil {
		return err
	}
	return c.server.disk.showAgain(state)
}

// A diskFile is the file that is the disk.
type diskFile struct {
	fs.Inode
	server *Server
}

func (f *diskFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f.server.open(1)
	return f, fuse.FOPEN_DIRECT_IO, fs.OK // Release comes only for a handle that is not nil
}

func (f *diskFile) Release(context.Context, fs.FileHandle) syscall.Errno {
	f.server.open(-1)
	return fs.OK
}

func (f *diskFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = syscall.S_IFREG|0o600, uint64(f.server.disk.size)
	return fs.OK
}

func (f *diskFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(dest[:f.server.disk.readAt(dest, off)]), fs.OK
}

func (f *diskFile) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	if err := f.server.disk.writeAt(data, off); err != nil {
		return 0, syscall.ENOSPC
	}
	return uint32(len(data)), fs.OK
}

func (f *diskFile) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	f.server.disk.flush()
	return fs.OK
}

// A marksFile takes marks.
type marksFile struct {
	fs.Inode
	server *Server
}

func (f *marksFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, fs.OK
}

func (f *marksFile) Write(_ context.Context, _ fs.FileHandle, data []byte, _ int64) (uint32, syscall.Errno) {
	f.server.disk.mark(string(data))
	return uint32(len(data)), fs.OK
}
