// Package layout checks the shape of the module: which package imports which,
// what the library depends on, and who may log. It has tests only.
package layout

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "faultline"

// arrows are all imports between our packages, those of tests left out. A new one
// is a change of architecture: draw it in ARCHITECTURE.md, then add it here.
var arrows = map[string][]string{
	"uffd":                          nil,
	"internal/blockrec":             nil,
	"internal/campaign":             nil,
	"internal/disk":                 {"kv"},
	"internal/flips":                {"store"},
	"internal/guest":                {"store", "uffd"},
	"internal/layout":               nil,
	"kv":                            nil,
	"kv/kvtest":                     {"internal/campaign", "kv"},
	"client":                        {"kv"},
	"examples/quickstart":           {"kv", "store"},
	"examples/remote":               {"client", "kv"},
	"internal/machine":              nil,
	"internal/memdisk":              {"internal/disk"},
	"internal/mutant":               nil,
	"internal/offheap":              nil,
	"internal/sysfault":             nil,
	"internal/soak":                 nil,
	"pagemeta":                      {"internal/offheap", "uffd"},
	"pagemeta/model":                nil,
	"flusher":                       {"internal/disk", "internal/offheap", "kv", "pagemeta"},
	"store/wal":                     {"internal/disk"},
	"store/tree":                    {"internal/offheap", "kv", "pagemeta"},
	"store":                         {"flusher", "internal/disk", "internal/offheap", "kv", "pagemeta", "store/tree", "store/wal"},
	"server/resp":                   nil,
	"server/resp/resptest":          nil,
	"server":                        {"server/resp", "store"},
	"server/admin":                  {"server", "store"},
	"cmd/kvd":                       {"server", "server/admin", "store", "uffd"},
	"cmd/kvbench":                   {"cmd/kvbench/internal/bench", "cmd/kvbench/internal/cgroup", "cmd/kvbench/internal/engine", "cmd/kvbench/internal/faults", "cmd/kvbench/internal/guard", "cmd/kvbench/internal/ltm", "cmd/kvbench/internal/report", "cmd/kvbench/internal/result"},
	"cmd/kvbench/internal/bench":    {"cmd/kvbench/internal/engine", "cmd/kvbench/internal/figure", "cmd/kvbench/internal/keys", "cmd/kvbench/internal/meter", "cmd/kvbench/internal/progress", "cmd/kvbench/internal/result", "cmd/kvbench/internal/self", "cmd/kvbench/internal/series", "store"},
	"cmd/kvbench/internal/cgroup":   nil,
	"cmd/kvbench/internal/chart":    {"cmd/kvbench/internal/figure"},
	"cmd/kvbench/internal/engine":   {"cmd/kvbench/internal/lmdb", "store"},
	"cmd/kvbench/internal/faults":   {"cmd/kvbench/internal/table", "pagemeta"},
	"cmd/kvbench/internal/figure":   nil,
	"cmd/kvbench/internal/guard":    {"cmd/kvbench/internal/figure", "cmd/kvbench/internal/result", "cmd/kvbench/internal/table"},
	"cmd/kvbench/internal/keys":     nil,
	"cmd/kvbench/internal/lmdb":     nil,
	"cmd/kvbench/internal/ltm":      {"cmd/kvbench/internal/cgroup", "cmd/kvbench/internal/chart", "cmd/kvbench/internal/engine", "cmd/kvbench/internal/figure", "cmd/kvbench/internal/keys", "cmd/kvbench/internal/meter", "cmd/kvbench/internal/progress", "cmd/kvbench/internal/result", "cmd/kvbench/internal/self", "cmd/kvbench/internal/series", "store"},
	"cmd/kvbench/internal/meter":    {"cmd/kvbench/internal/figure"},
	"cmd/kvbench/internal/progress": nil,
	"cmd/kvbench/internal/report":   {"cmd/kvbench/internal/chart", "cmd/kvbench/internal/figure", "cmd/kvbench/internal/result", "cmd/kvbench/internal/table"},
	"cmd/kvbench/internal/result":   {"cmd/kvbench/internal/figure"},
	"cmd/kvbench/internal/self":     nil,
	"cmd/kvbench/internal/series":   {"cmd/kvbench/internal/figure", "cmd/kvbench/internal/meter"},
	"cmd/kvbench/internal/table":    nil,
	"integration":                   nil,
	"integration/internal/rig":      nil,
	"integration/redis":             nil,
}

// library are the packages that a program gets which embeds the store. They
// import nothing but the standard library and each other, and outside.
var library = []string{"kv", "uffd", "pagemeta", "flusher", "store", "store/tree", "store/wal", "internal/disk", "internal/offheap"}

const outside = "golang.org/x/sys"

// talkers may log and print, as programs may.
var talkers = []string{"cmd", "server"}

// vague are names that say nothing of what a package owns.
var vague = []string{"base", "common", "helper", "helpers", "misc", "shared", "types", "util", "utils"}

// A pkg is a directory with Go files.
type pkg struct {
	dir   string // from the root of the module, with slashes
	files map[string]*ast.File
}

// packages parses all Go files of the module, whatever their build constraints.
func packages(t *testing.T) (root string, pkgs []*pkg, fset *token.FileSet) {
	t.Helper()
	root = filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	fset = token.NewFileSet()
	byDir := map[string]*pkg{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name != root && (base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(base) != ".go" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
			return nil
		}
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(rel)
		if byDir[dir] == nil {
			byDir[dir] = &pkg{dir, map[string]*ast.File{}}
		}
		byDir[dir].files[base] = file
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		pkgs = append(pkgs, byDir[dir])
	}
	return root, pkgs, fset
}

// sources returns the files that are not tests.
func (p *pkg) sources() []*ast.File {
	var files []*ast.File
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		if !strings.HasSuffix(name, "_test.go") {
			files = append(files, p.files[name])
		}
	}
	return files
}

// isProgram tells whether it is a package main.
func (p *pkg) isProgram() bool {
	return slices.ContainsFunc(p.sources(), func(f *ast.File) bool { return f.Name.Name == "main" })
}

// imports returns what the files that are not tests import.
func (p *pkg) imports(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, f := range p.sources() {
		for _, spec := range f.Imports {
			s, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, s)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// ours returns the directory of a package of this module.
func ours(importPath string) (dir string, ok bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// under tells whether dir is one of the trees.
func under(dir string, trees []string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool {
		return dir == tree || strings.HasPrefix(dir, tree+"/")
	})
}

// TestArrows compares the imports between our packages with the table, in both
// directions: an arrow that is not drawn, and one that is not there any more.
func TestArrows(t *testing.T) {
	_, pkgs, _ := packages(t)
	seen := map[string]bool{}
	for _, p := range pkgs {
		want, drawn := arrows[p.dir]
		if !drawn {
			t.Errorf("package %s is not drawn", p.dir)
		}
		seen[p.dir] = true
		var have []string
		for _, s := range p.imports(t) {
			if dir, ok := ours(s); ok {
				have = append(have, dir)
			}
		}
		for _, dir := range have {
			if !slices.Contains(want, dir) {
				t.Errorf("arrow %s -> %s is not drawn", p.dir, dir)
			}
		}
		for _, dir := range want {
			if !slices.Contains(have, dir) {
				t.Errorf("arrow %s -> %s is drawn, and not there", p.dir, dir)
			}
		}
	}
	for dir := range arrows {
		if !seen[dir] {
			t.Errorf("package %s is drawn, and not there", dir)
		}
	}
}

// TestDrawing looks for each line of the table in ARCHITECTURE.md.
func TestDrawing(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range slices.Sorted(maps.Keys(arrows)) {
		imports := "nothing of ours"
		if len(arrows[dir]) > 0 {
			imports = "`" + strings.Join(arrows[dir], "` `") + "`"
		}
		if line := fmt.Sprintf("| `%s` | %s |", dir, imports); !strings.Contains(string(text), line) {
			t.Errorf("ARCHITECTURE.md lacks the line\n%s", line)
		}
	}
}

// TestNames refuses package names that say nothing.
func TestNames(t *testing.T) {
	_, pkgs, _ := packages(t)
	for _, p := range pkgs {
		for _, f := range p.files {
			name := strings.TrimSuffix(f.Name.Name, "_test")
			if slices.Contains(vague, name) || slices.Contains(vague, path.Base(p.dir)) {
				t.Errorf("package %s in %s: name it for what it owns", name, p.dir)
				break
			}
		}
	}
}

// TestPackageComments wants one package comment in each package, in one file.
func TestPackageComments(t *testing.T) {
	_, pkgs, _ := packages(t)
	for _, p := range pkgs {
		files := p.sources()
		if len(files) == 0 { // a package of tests
			files = slices.Collect(maps.Values(p.files))
		}
		comments := 0
		for _, f := range files {
			if f.Doc == nil {
				continue
			}
			comments++
			text := f.Doc.Text()
			if f.Name.Name != "main" && !strings.HasPrefix(text, "Package "+strings.TrimSuffix(f.Name.Name, "_test")+" ") {
				t.Errorf("%s: package comment begins with %.40q", p.dir, text)
			}
		}
		if comments != 1 {
			t.Errorf("%s: %d package comments, want 1", p.dir, comments)
		}
	}
}

// peers may call C, which a build tag decides: the store that kvbench calls there is
// written in it.
const peers = "cmd/kvbench/internal/lmdb"

// TestLibraryImports keeps the library free of dependencies, and of C.
func TestLibraryImports(t *testing.T) {
	_, pkgs, _ := packages(t)
	for _, p := range pkgs {
		for _, s := range p.imports(t) {
			first, _, _ := strings.Cut(s, "/")
			_, own := ours(s)
			std := !strings.Contains(first, ".") && s != "C"
			switch {
			case s == "C" && p.dir != peers:
				t.Errorf("%s imports C", p.dir)
			case slices.Contains(library, p.dir) && !own && !std && s != outside && !strings.HasPrefix(s, outside+"/"):
				t.Errorf("%s is of the library, and imports %s", p.dir, s)
			case slices.Contains(library, p.dir) && own && !slices.Contains(library, strings.TrimPrefix(s, module+"/")):
				t.Errorf("%s is of the library, and imports %s, which is not", p.dir, s)
			}
		}
	}
	for _, dir := range library {
		if _, ok := arrows[dir]; !ok {
			t.Errorf("%s is of the library, and not drawn", dir)
		}
	}
}

// TestSilence keeps log output out of all but programs and the talkers: libraries
// return errors and count.
func TestSilence(t *testing.T) {
	_, pkgs, fset := packages(t)
	for _, p := range pkgs {
		if under(p.dir, talkers) || p.isProgram() {
			continue
		}
		for _, s := range p.imports(t) {
			if s == "log" || strings.HasPrefix(s, "log/") {
				t.Errorf("%s imports %s", p.dir, s)
			}
		}
		for _, f := range p.sources() {
			ast.Inspect(f, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && prints(call.Fun) {
					t.Errorf("%v: prints", fset.Position(call.Pos()))
				}
				return true
			})
		}
	}
}

// prints tells whether fun is fmt.Print, Printf or Println, or a builtin print.
func prints(fun ast.Expr) bool {
	switch f := fun.(type) {
	case *ast.Ident:
		return f.Name == "print" || f.Name == "println"
	case *ast.SelectorExpr:
		x, ok := f.X.(*ast.Ident)
		return ok && x.Name == "fmt" && strings.HasPrefix(f.Sel.Name, "Print")
	}
	return false
}
