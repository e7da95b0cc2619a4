package server

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/commands.md anew")

// groupTitles are the headings of docs/commands.md, in their order.
var groupTitles = []struct{ group, title string }{
	{"string", "Values"},
	{"generic", "Keys"},
	{"kv", "Keys in their order"},
	{"transactions", "Transactions"},
	{"connection", "Connections"},
	{"pubsub", "Messages to clients of RESP2 that cache"},
	{"server", "The server"},
	{"scripting", "For tools"},
}

const commandsHead = `# Commands

<!-- Made from the table of package server by "go test ./server -run TestCommandsDoc -update". -->

Replies, errors and options are those of Redis 7.0, but for what is said here. What is
not listed, lists, hashes, sets, sorted sets, streams, scripts, publish and subscribe
among it, answers as Redis answers an unknown command. A container such as CONFIG also
has HELP. Since is the version of Redis that has the command, or of kvd for KV.*.
`

// kvNotes explains what Redis's documentation does not.
const kvNotes = `
A minimum and a maximum are written as in ZRANGE BYLEX: ` + "`[key`" + ` takes the key with
it, ` + "`(key`" + ` leaves it out, ` + "`-`" + ` and ` + "`+`" + ` are the ends. The minimum comes first, with REV too. Keys
are compared byte by byte. A range is read while others write: it has every key that
is there all the time, once, and none that is not there, but is not one moment.
`

// TestCommandsDoc compares docs/commands.md with the table, from which -update makes it.
func TestCommandsDoc(t *testing.T) {
	var b strings.Builder
	b.WriteString(commandsHead)
	table, listed := newTable(), 0
	for _, g := range groupTitles {
		fmt.Fprintf(&b, "\n## %s\n", g.title)
		if g.group == "kv" {
			b.WriteString(kvNotes)
		}
		b.WriteString("\n| command | what it does | since |\n| --- | --- | --- |\n")
		for _, cmd := range table.list {
			if cmd.group == g.group {
				listed++
				writeDocLines(&b, cmd)
			}
		}
	}
	if listed != len(table.list) {
		t.Errorf("%d of %d commands are in a group with a title", listed, len(table.list))
	}
	const path = "../docs/commands.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Errorf("%s is stale: run go test ./server -run TestCommandsDoc -update", path)
	}
}

// writeDocLines writes the line of a command, or those of its subcommands.
func writeDocLines(b *strings.Builder, cmd *command) {
	if cmd.run != nil {
		usage := strings.ToUpper(strings.ReplaceAll(cmd.full, "|", " "))
		if cmd.args != "" {
			usage += " " + cmd.args
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", strings.ReplaceAll(usage, "|", "\\|"), cmd.summary, cmd.since)
	}
	for _, sub := range cmd.subs {
		if sub.name != "help" {
			writeDocLines(b, sub)
		}
	}
}
