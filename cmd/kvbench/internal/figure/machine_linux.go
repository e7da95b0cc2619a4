package figure

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileSystems are the names of those that a store is likely to be on.
var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC:      "ext2/3/4",
	unix.XFS_SUPER_MAGIC:       "xfs",
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.TMPFS_MAGIC:           "tmpfs (a sync is free here)",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	unix.NFS_SUPER_MAGIC:       "nfs",
	0x2fc12fc1:                 "zfs", // fs/zfs, not in x/sys
}

// ask fills in what the kernel knows, with dir on the file system in question.
func (m *Machine) ask(dir string) error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return fmt.Errorf("sysinfo: %w", err)
	}
	m.MemoryBytes = uint64(info.Totalram) * uint64(info.Unit)
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	m.Kernel = unix.ByteSliceToString(uname.Sysname[:]) + " " + unix.ByteSliceToString(uname.Release[:])
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("statfs %s: %w", dir, err)
	}
	m.FileSystem = fmt.Sprintf("type %#x", fs.Type)
	if name, ok := fileSystems[int64(fs.Type)]; ok {
		m.FileSystem = name
	}
	return nil
}
