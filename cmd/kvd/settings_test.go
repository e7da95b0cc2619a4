package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

var rewrite = flag.Bool("rewrite", false, "write what a test compares with")

// TestDocument compares docs/configuration.md with the table of settings.
func TestDocument(t *testing.T) {
	const name = "../../docs/configuration.md"
	var want bytes.Buffer
	if err := newConfig().document(&want); err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.WriteFile(name, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the table of settings says: go test ./cmd/kvd -run TestDocument -rewrite", name)
	}
}

// TestTable checks each setting: its names, its texts, and that its default is a value
// that a flag, the environment and a file can have.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range newConfig().groups() {
		for _, s := range g.settings {
			if seen[s.name] || s.name != strings.ToLower(s.name) {
				t.Errorf("%s: twice, or not in lower case", s.name)
			}
			seen[s.name] = true
			if g.title != "" && (s.about == "" || strings.HasSuffix(s.about, ".")) {
				t.Errorf("%s: %q is no sentence without its full stop", s.name, s.about)
			}
			v := s.value.String()
			if v == "" {
				if g.title != "" && s.none == "" {
					t.Errorf("%s: its default is empty, and nothing says what that means", s.name)
				}
				continue
			}
			if err := s.value.Set(v); err != nil || s.value.String() != v {
				t.Errorf("%s: default %q: %v, and then %q", s.name, v, err, s.value)
			}
		}
	}
}

// TestPrecedence gives each setting a value in every set of the three ways, and looks at
// which one counts and what origin says.
func TestPrecedence(t *testing.T) {
	newConfig().each(func(s *setting) {
		values := map[string][4]string{ // two of them may be alike
			"size": {"1MiB", "2MiB", "3MiB", "4MiB"}, "number": {"11", "12", "13", "14"},
			"seconds": {"1", "2", "3", "4"}, "path": {"a", "b", "c", "d"}, "string": {"a", "b", "c", "d"},
			"octal": {"711", "712", "713", "714"}, "hosts": {"::1", "127.0.0.2", "127.0.0.3", "127.0.0.4"},
			"limit":     {"normal 1 2 3", "normal 2KiB 1KiB 3", "normal 3 2 1", "normal 0 0 9"},
			"addresses": {"a:1", "b:2", "c:3", "d:4"},
		}
		v, ok := values[s.value.Type()]
		if !ok {
			words := strings.Split(s.value.Type(), "|")
			v = [4]string{words[0], words[1], words[0], words[1]}
		}
		for ways := range 8 {
			want, from := "", fromDefault
			newConfig().each(func(d *setting) {
				if d.name == s.name {
					want = d.value.String()
				}
			})
			c, flags, environ, file := newConfig(), pflag.NewFlagSet("", pflag.ContinueOnError), []string{"HOME=/"}, ""
			for _, fs := range c.flags() {
				flags.AddFlagSet(fs)
			}
			if ways&1 != 0 {
				file = filepath.Join(t.TempDir(), "kvd.toml")
				if err := os.WriteFile(file, []byte(s.name+" = '"+v[1]+"'\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				want, from = v[1], fromFile
			}
			if ways&2 != 0 {
				environ = append(environ, s.env()+"="+v[2])
				want, from = v[2], fromEnvironment
			}
			if ways&4 != 0 {
				if err := flags.Parse([]string{"--" + s.name + "=" + v[3]}); err != nil {
					t.Fatal(err)
				}
				want, from = v[3], fromFlag
			}
			if unknown, err := c.load(flags, file, environ); err != nil || unknown != nil {
				t.Fatalf("%s: %v, unknown %v", s.name, err, unknown)
			}
			origin := c.origin[s.name]
			if origin == "" {
				origin = fromDefault
			}
			c.each(func(got *setting) {
				if got.name == s.name && (got.value.String() != want || origin != from) {
					t.Errorf("%s, ways %03b: %q from %s, want %q from %s", s.name, ways, got.value, origin, want, from)
				}
			})
		}
	})
}

// TestFile gives load files that are wrong, and checks that the error names file, line
// and key. A value is wrong also where a flag takes its place.
func TestFile(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"maxclients = 7\nmaxclient = 8\n", ":2: maxclient: there is no such setting"},
		{"\n# a\nport = 'many'\n", `:3: port: "many": not a whole number`},
		{"port = 70000\n", `:1: port: "70000": want 0 to 65535`},
		{"port = 1.5\n", ":1: port: want a string, a whole number"},
		{"bind = ['::1', 3]\n", ":1: bind: want a list of strings"},
		{"appendfsync = 'sometimes'\n", ":1: appendfsync: \"sometimes\": want always, everysec or no"},
		{"memory = 'lots'\nport = 'x'\n", "memory: \"lots\": not a size such as 1GiB\n"},
		{"maxclients = 1\n[tls]\nport = 1\n", ":2: tls: there is no such setting"},
		{"dir.sub = 'a'\n", ":1: dir: there is no such table"},
		{"\n[[dir]]\n", ":2: dir: there is no such table"},
		{"\nport = \n", ":2: "},
		{"port = 1\nport = 2\n", ":2: "},
		{"Port = 1\n", ":1: Port: there is no such setting"},
	} {
		file := filepath.Join(t.TempDir(), "kvd.toml")
		if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{nil, {"--port=1"}} {
			conf, flags := newConfig(), pflag.NewFlagSet("", pflag.ContinueOnError)
			for _, fs := range conf.flags() {
				flags.AddFlagSet(fs)
			}
			if err := flags.Parse(args); err != nil {
				t.Fatal(err)
			}
			if _, err := conf.load(flags, file, nil); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), file) {
				t.Errorf("%q, flags %v: %v, want %q", c.file, args, err, c.want)
			}
		}
	}
}

// TestPrinted reads back what kvd config prints: the same settings, all from the file.
func TestPrinted(t *testing.T) {
	c := newConfig()
	c.dir, c.bind, c.listen, c.shutdownWithin = `a "b" \c`, hosts{"::1", "127.0.0.1"}, addresses{"[::1]:7"}, 1500*seconds(1e6)
	var first bytes.Buffer
	if err := c.print(&first); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kvd.toml")
	if err := os.WriteFile(file, first.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	again := newConfig()
	if _, err := again.load(pflag.NewFlagSet("", pflag.ContinueOnError), file, nil); err != nil {
		t.Fatal(err)
	}
	var second bytes.Buffer
	if err := again.print(&second); err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(first.String(), " # default\n", " # file\n"); second.String() != want {
		t.Errorf("%s\nread back:\n%s", want, second.String())
	}
}

// FuzzFile gives load any file: an error or settings, and no panic.
func FuzzFile(f *testing.F) {
	f.Add([]byte("port = 1\n[a.b]\nc = [1, 'x']\nd = 2020-01-01\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(t.TempDir(), "kvd.toml")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c := newConfig()
		if _, err := c.load(pflag.NewFlagSet("", pflag.ContinueOnError), file, nil); err == nil && len(c.origin) == 0 && len(bytes.TrimSpace(b)) > 0 {
			t.Log("a file of comments, or empty tables")
		}
	})
}
