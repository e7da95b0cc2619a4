// Package mutant breaks the product on purpose, one small edit at a time, and
// checks that some test of the project notices: each sync left out, each order
// swapped, a lock dropped. It has tests only, and the product has no trace of it: a
// mutant is a file in testdata, and reaches the compiler by go's -overlay.
package mutant

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

// A mutant is one way to break the product. Its file is a txtar archive:
//
//	What: the group is not synced before it is said to be durable.
//	Costs: a power cut loses writes that clients were told are safe.
//	Package: ./store/wal
//	Run: TestCrash
//
//	-- old store/wal/writer.go --
//	lines that are in that file once
//	-- new --
//	lines in their place
//	-- old ...
//
// A line of the head that begins with a space goes on with the one before. Further
// fields are Tags, for build tags, and Harmless: the reason why no test can notice,
// instead of Costs.
type mutant struct {
	name  string
	what  string
	costs string
	suite
	harmless string
	edits    []edit
}

// A suite is the tests that are to notice a mutant.
type suite struct {
	pkg  string
	tags string
	run  string // names of tests, with | between them
}

// An edit puts new in the place of old in file, a path from the root of the module.
type edit struct{ file, old, new string }

// readMutants reads testdata, in the order of the names.
func readMutants() ([]*mutant, error) {
	paths, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	if err != nil {
		return nil, err
	}
	var all []*mutant
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		m, err := parseMutant(strings.TrimSuffix(filepath.Base(path), ".txt"), data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func parseMutant(name string, data []byte) (*mutant, error) {
	a := txtar.Parse(data)
	head, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(a.Comment))).ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	take := func(field string) string {
		v := head.Get(field)
		head.Del(field)
		return v
	}
	m := &mutant{name: name, what: take("What"), costs: take("Costs"), harmless: take("Harmless"),
		suite: suite{pkg: take("Package"), tags: take("Tags"), run: take("Run")}}
	switch {
	case m.what == "" || m.pkg == "" || m.run == "":
		return nil, errors.New("want the fields What, Package and Run")
	case (m.costs == "") == (m.harmless == ""):
		return nil, errors.New("want either Costs or Harmless")
	case len(head) > 0:
		return nil, fmt.Errorf("fields that mean nothing: %v", head)
	case len(a.Files) == 0 || len(a.Files)%2 != 0:
		return nil, fmt.Errorf("%d sections, want pairs of old and new", len(a.Files))
	}
	for i := 0; i < len(a.Files); i += 2 {
		file, ok := strings.CutPrefix(a.Files[i].Name, "old ")
		if !ok || a.Files[i+1].Name != "new" {
			return nil, fmt.Errorf("sections %q and %q, want old FILE and new", a.Files[i].Name, a.Files[i+1].Name)
		}
		m.edits = append(m.edits, edit{file, string(a.Files[i].Data), string(a.Files[i+1].Data)})
	}
	return m, nil
}

// apply returns the files that m changes, changed, by their paths from root.
func (m *mutant) apply(root string) (map[string]string, error) {
	files := map[string]string{}
	for _, e := range m.edits {
		text, ok := files[e.file]
		if !ok {
			data, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return nil, err
			}
			text = string(data)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("%s has these lines %d times, want once: bring the mutant up to date\n%s", e.file, n, e.old)
		}
		files[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return files, nil
}

// overlay writes what m changes to dir, and the file for go's -overlay, whose path
// it returns.
func (m *mutant) overlay(root, dir string) (string, error) {
	files, err := m.apply(root)
	if err != nil {
		return "", err
	}
	var o struct{ Replace map[string]string }
	o.Replace = map[string]string{}
	for name, text := range files {
		to := filepath.Join(dir, fmt.Sprintf("%d.go", len(o.Replace)))
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return "", err
		}
		o.Replace[filepath.Join(root, name)] = to
	}
	data, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, data, 0o644)
}
