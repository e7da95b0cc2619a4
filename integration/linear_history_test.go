package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A kind is what an operation of a history does with its one key.
type kind byte

const (
	get kind = iota
	set
	del
)

// An input is what a client asked for: one key of a command.
type input struct {
	kind  kind
	key   string
	value int // of a set: above 0, unlike any other
}

// An output is what the client was told. open: nothing, for the server died.
type output struct {
	value int // of a get: 0 if there is no such key
	found int // of a del: keys that were there
	open  bool
}

// register is one key, by its own history: what it holds, 0 for nothing. An open
// operation has happened or not: there are two states after it.
//
// A command of several keys is one operation for each, which begin and end
// together: the server makes it whole after a crash, not for readers.
var register = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := map[string]int{}
		for _, op := range history {
			key := op.Input.(input).key
			if _, ok := at[key]; !ok {
				at[key] = len(parts)
				parts = append(parts, nil)
			}
			parts[at[key]] = append(parts[at[key]], op)
		}
		return parts
	},
	Init: func() []any { return []any{0} },
	Step: func(state, in, out any) []any {
		i, o := in.(input), out.(output)
		next, possible := state, true
		switch i.kind {
		case get:
			possible = state == o.value
		case set:
			next = i.value
		case del:
			next, possible = 0, (state != 0) == (o.found != 0)
		}
		switch {
		case o.open:
			return []any{state, next}
		case possible:
			return []any{next}
		}
		return nil
	},
	DescribeOperation: func(in, out any) string {
		i, o := in.(input), out.(output)
		switch {
		case i.kind == get:
			return fmt.Sprintf("GET -> %d", o.value)
		case i.kind == set && o.open:
			return fmt.Sprintf("SET %d?", i.value)
		case i.kind == set:
			return fmt.Sprintf("SET %d", i.value)
		case o.open:
			return "DEL?"
		}
		return fmt.Sprintf("DEL -> %d", o.found)
	},
}).ToModel()

// checkTime is far more than a legal history takes.
const checkTime = 2 * time.Minute

// linearizable tells whether each key's operations can be put into an order that
// agrees with their times and with what they returned.
func linearizable(t *testing.T, history []porcupine.Operation) bool {
	t.Helper()
	switch porcupine.CheckOperationsTimeout(register, history, checkTime) {
	case porcupine.Ok:
		return true
	case porcupine.Illegal:
		return false
	}
	t.Fatalf("%d operations: not decided in %v", len(history), checkTime)
	return false
}

// explain writes the keys whose operations have no order as a page for a browser,
// in a directory that outlives the test.
func explain(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	dir, err := os.MkdirTemp("", "linear")
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range register.Partition(history) {
		if porcupine.CheckOperations(register, part) {
			continue
		}
		_, info := porcupine.CheckOperationsVerbose(register, part, checkTime)
		name := filepath.Join(dir, fmt.Sprintf("key%d.html", i))
		if err := porcupine.VisualizePath(register, info, name); err != nil {
			t.Error(err)
		}
		t.Logf("no order for %d operations on %.12q: %s", len(part), part[0].Input.(input).key, name)
	}
}

// plantStaleRead gives one get the value that a set wrote which was over before a
// second set began, which was over before the get began. It returns false if the
// history has no such three.
func plantStaleRead(history []porcupine.Operation) bool {
	for _, part := range register.Partition(history) {
		sets := slices.DeleteFunc(slices.Clone(part), func(op porcupine.Operation) bool {
			return op.Input.(input).kind != set || op.Output.(output).open
		})
		for _, read := range part {
			if in := read.Input.(input); in.kind != get || len(sets) < 2 {
				continue
			}
			first, second := sets[0], sets[1]
			if first.Return < second.Call && second.Return < read.Call {
				at := slices.IndexFunc(history, func(op porcupine.Operation) bool {
					return op.ClientId == read.ClientId && op.Call == read.Call && op.Input == read.Input
				})
				history[at].Output = output{value: first.Input.(input).value}
				return true
			}
		}
	}
	return false
}
