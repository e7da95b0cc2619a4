package machine

import (
	"bytes"
	"fmt"
	"os"
	"path"
)

// An Initramfs is the files that a machine begins with: a cpio archive in the
// format "newc" (Documentation/driver-api/early-userspace/buffer-format.rst). It
// is not compressed: an emulated processor is slow at that.
type Initramfs struct {
	archive bytes.Buffer
	folders map[string]bool
	inodes  int
}

const (
	cpioFolder = 0o040755
	cpioFile   = 0o100755
)

// Add puts a file there, executable, and the folders above it. The name has no
// slash before it.
func (a *Initramfs) Add(name string, content []byte) {
	a.addFolders(path.Dir(name))
	a.entry(name, cpioFile, content)
}

// AddKernel puts there what the kernel needs to see the disk. The names sort in
// the order of loading.
func (a *Initramfs) AddKernel(k Kernel) error {
	modules, err := k.Modules("virtio_pci", "virtio_blk", "ext4")
	if err != nil {
		return err
	}
	for i, m := range modules {
		a.Add(fmt.Sprintf("modules/%02d-%s.ko", i, m.Name), m.ELF)
	}
	return nil
}

// WriteFile ends the archive and writes it to a file.
func (a *Initramfs) WriteFile(name string) error {
	a.entry("TRAILER!!!", 0, nil)
	return os.WriteFile(name, a.archive.Bytes(), 0o600)
}

func (a *Initramfs) addFolders(name string) {
	if name == "." || a.folders[name] {
		return
	}
	a.addFolders(path.Dir(name))
	if a.folders == nil {
		a.folders = map[string]bool{}
	}
	a.folders[name] = true
	a.entry(name, cpioFolder, nil)
}

// entry appends a header of 13 numbers in hexadecimal, the name with a NUL, and
// the content, the latter two padded to a multiple of 4 bytes.
func (a *Initramfs) entry(name string, mode int, content []byte) {
	a.inodes++
	const links = 1
	a.archive.WriteString("070701")
	for _, n := range []int{
		a.inodes, mode, 0, 0, links, 0, len(content), // inode, mode, uid, gid, links, mtime, size
		0, 0, 0, 0, len(name) + 1, 0, // device, device of a node, size of the name, checksum
	} {
		fmt.Fprintf(&a.archive, "%08x", n)
	}
	a.archive.WriteString(name + "\x00")
	a.pad()
	a.archive.Write(content)
	a.pad()
}

func (a *Initramfs) pad() {
	for a.archive.Len()%4 != 0 {
		a.archive.WriteByte(0)
	}
}
