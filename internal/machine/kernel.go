package machine

import (
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A Kernel is one of Debian's kernel packages, unpacked.
type Kernel struct {
	Release string // as uname -r prints it
	Image   string // path
	modules string // folder of its modules
}

// Kernels returns the kernels that were unpacked into root by dpkg -x, oldest
// first. It knows where Debian 11 to 13 have the image and the modules.
func Kernels(root string) ([]Kernel, error) {
	var all []Kernel
	for _, layout := range []string{"lib/modules/*", "usr/lib/modules/*"} {
		folders, err := filepath.Glob(filepath.Join(root, layout))
		if err != nil {
			return nil, err
		}
		for _, folder := range folders {
			release := filepath.Base(folder)
			for _, image := range []string{filepath.Join(root, "boot", "vmlinuz-"+release), filepath.Join(folder, "vmlinuz")} {
				if _, err := os.Stat(image); err == nil {
					all = append(all, Kernel{release, image, folder})
					break
				}
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no kernel in %q", root)
	}
	slices.SortFunc(all, func(a, b Kernel) int {
		aMajor, aMinor := a.version()
		bMajor, bMinor := b.version()
		return cmp.Or(cmp.Compare(aMajor, bMajor), cmp.Compare(aMinor, bMinor), cmp.Compare(a.Release, b.Release))
	})
	return all, nil
}

// AtLeast tells whether the kernel is of release major.minor or newer.
func (k Kernel) AtLeast(major, minor int) bool {
	kMajor, kMinor := k.version()
	return kMajor > major || kMajor == major && kMinor >= minor
}

// version returns the first two numbers of the release, 0 for what is no number.
func (k Kernel) version() (major, minor int) {
	fmt.Sscanf(k.Release, "%d.%d", &major, &minor)
	return major, minor
}

// A Module is a part of a kernel that is loaded at run time.
type Module struct {
	Name string
	ELF  []byte
}

// Modules returns the modules of these names and all that they depend on, in the
// order in which they must be loaded. What is built into the kernel is left out.
func (k Kernel) Modules(names ...string) ([]Module, error) {
	builtin, err := os.ReadFile(filepath.Join(k.modules, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	l := loader{paths: map[string]string{}, seen: map[string]bool{}}
	for _, path := range strings.Fields(string(builtin)) {
		l.seen[moduleName(path)] = true
	}
	err = filepath.WalkDir(filepath.Join(k.modules, "kernel"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			l.paths[moduleName(path)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := l.add(name); err != nil {
			return nil, fmt.Errorf("module %s of %s: %w", name, k.Release, err)
		}
	}
	return l.order, nil
}

// moduleName returns the name that modules call each other by: that of the file,
// with underscores.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// A loader puts modules behind those that they depend on.
type loader struct {
	paths map[string]string // by name
	seen  map[string]bool   // in order already, or built in
	order []Module
}

func (l *loader) add(name string) error {
	if l.seen[name] {
		return nil
	}
	l.seen[name] = true
	path, ok := l.paths[name]
	if !ok {
		return fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	object, err := readModule(path)
	if err != nil {
		return err
	}
	needed, err := dependencies(object)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, other := range needed {
		if err := l.add(other); err != nil {
			return err
		}
	}
	l.order = append(l.order, Module{name, object})
	return nil
}

// readModule returns the object file; newer packages have them compressed.
func readModule(path string) ([]byte, error) {
	if filepath.Ext(path) == ".xz" {
		object, err := exec.Command("xz", "--decompress", "--stdout", path).Output()
		if err != nil {
			return nil, fmt.Errorf("decompress %s: %w", path, err)
		}
		return object, nil
	}
	return os.ReadFile(path)
}

// dependencies returns the names after depends= in the section .modinfo, which
// has a NUL after each of its fields.
func dependencies(object []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if names, ok := strings.CutPrefix(field, "depends="); ok && names != "" {
			return strings.Split(strings.ReplaceAll(names, "-", "_"), ","), nil
		}
	}
	return nil, nil
}
