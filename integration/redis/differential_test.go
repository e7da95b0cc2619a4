package redis

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"faultline/internal/campaign"
	"pgregory.net/rapid"
)

// wantCommands are compared at scale 1.
const wantCommands = 100_000

// TestDifferential sends random sequences of commands to redis-server and to kvd,
// over two connections to each, in pipelines of random length that are cut at
// random bytes. The replies must be the same, byte for byte but for the
// comparisons in commandForms. A sequence that shows a difference is made shorter
// before it is shown.
func TestDifferential(t *testing.T) {
	d := newDifferential(t, startRedis(t), startKvd(t, "--proto-max-bulk-len", "512MiB"))
	want := campaign.Scale(t, wantCommands)
	if n := d.check(t, want); n < want && !t.Failed() {
		t.Errorf("%d commands compared, want %d", n, want)
	}
}

// TestDifferentialControl compares redis-server with itself: what is compared
// does not depend on time or chance.
func TestDifferentialControl(t *testing.T) {
	d := newDifferential(t, startRedis(t), startRedis(t))
	d.check(t, campaign.Scale(t, wantCommands/10))
}

// TestDifferentialFinds compares redis-server with itself and a fault between. Each
// must be found, and be shown by a short sequence.
func TestDifferentialFinds(t *testing.T) {
	for _, fault := range []struct {
		name  string
		alter func(args [][]byte) [][]byte
	}{
		{"KEEPTTL is forgotten", without("SET", "KEEPTTL")},
		{"GT is forgotten", without("EXPIRE", "GT")},
		{"WATCH watches nothing", replaced("WATCH", "UNWATCH")},
		{"UNLINK does nothing", replaced("UNLINK", "EXISTS")},
	} {
		t.Run(fault.name, func(t *testing.T) {
			wrong := startRedis(t)
			wrong.alter = fault.alter
			d := newDifferential(t, startRedis(t), wrong)
			d.steps, d.enough = 30, 12 // so that they are short soon
			r := &recorder{TB: t}
			d.check(r, 100_000)
			if !r.failed {
				t.Fatalf("not found by %d commands\n%s", d.commands, r.log.String())
			}
			t.Logf("after %d commands, shown by %d", d.commands, d.length)
			if d.length > d.enough {
				t.Errorf("want %d commands at most:\n%s", d.enough, r.log.String())
			}
		})
	}
}

// without returns a fault that drops an option of a command.
func without(command, option string) func([][]byte) [][]byte {
	return func(args [][]byte) [][]byte {
		if !strings.EqualFold(string(args[0]), command) {
			return args
		}
		return slices.DeleteFunc(slices.Clone(args), func(a []byte) bool { return string(a) == option })
	}
}

// replaced returns a fault that makes another command of one; UNWATCH has no
// arguments.
func replaced(command, by string) func([][]byte) [][]byte {
	return func(args [][]byte) [][]byte {
		switch {
		case !strings.EqualFold(string(args[0]), command):
			return args
		case by == "UNWATCH":
			return words(by)
		}
		return append(words(by), args[1:]...)
	}
}

// A recorder is a test of which it is expected that it fails.
type recorder struct {
	testing.TB
	failed bool
	log    strings.Builder
}

func (r *recorder) Logf(format string, args ...any) { fmt.Fprintf(&r.log, format+"\n", args...) }
func (r *recorder) Errorf(format string, args ...any) {
	r.failed = true
	r.Logf(format, args...)
}

// A differential compares two servers, of which the first is right.
type differential struct {
	servers  [2]*server
	steps    int           // in a sequence, on average
	shrink   time.Duration // how long a sequence is made shorter
	commands int           // compared so far
	length   int           // of the shortest sequence that shows a difference
	enough   int           // a length at which it is not made shorter

	first string // how the first difference was seen

	forms    []form // by weight: a form is there as often as it is to be drawn
	lines    []*commandForm
	keywords []string
}

func newDifferential(t testing.TB, right, tested *server) *differential {
	d := &differential{servers: [2]*server{right, tested}, steps: 300, shrink: 10 * time.Second, length: math.MaxInt}
	var texts []string
	for i := range commandForms {
		line := &commandForms[i]
		texts = append(texts, line.form)
		f := parseForm(line.form)
		for range cmp.Or(line.weight, 2) {
			d.forms = append(d.forms, f)
			d.lines = append(d.lines, line)
		}
	}
	d.keywords = keywords(texts)
	return d
}

// rapidFlags guards the flags of rapid, which are the only way to tell it something.
var rapidFlags sync.Mutex

// check compares the servers until they have been sent n commands or more, and
// returns how many.
func (d *differential) check(t testing.TB, n int) int {
	t.Helper()
	seed := campaign.Seed(t)
	rapidFlags.Lock()
	defer rapidFlags.Unlock()
	checks := 1 + n/d.steps + n/d.steps/5 // the mean is not exact
	steps := d.steps
	if testing.Short() { // then rapid takes a fifth of the one and half of the other
		checks *= 5
		steps *= 2
	}
	for name, value := range map[string]string{
		"rapid.steps":      strconv.Itoa(steps),
		"rapid.checks":     strconv.Itoa(checks),
		"rapid.nofailfile": "true",
		"rapid.shrinktime": d.shrink.String(),
		"rapid.seed":       strconv.FormatUint(seed, 10),
	} {
		if err := flag.Set(name, value); err != nil {
			t.Fatalf("%v", err)
		}
	}
	defer func() {
		if t.Failed() {
			t.Logf("the first difference, before it was made shorter:\n%s", d.first)
		}
	}()
	rapid.Check(t, d.property)
	t.Logf("%d commands compared", d.commands)
	return d.commands
}

// A step is one command of a sequence.
type step struct {
	args    [][]byte
	line    *commandForm
	conn    int  // 0 or 1
	pause   bool // the replies to all that was sent are awaited first
	cut     int  // if positive, the bytes are sent in two parts
	compare comparison
}

func (d *differential) property(t *rapid.T) {
	if d.length <= d.enough {
		return
	}
	r := &run{}
	for i := range r.protocols {
		r.protocols[i] = rapid.IntRange(2, 3).Draw(t, "protocol")
	}
	defer r.hangUp()
	err := r.begin(d.servers)
	t.Repeat(map[string]func(*rapid.T){
		"command": func(t *rapid.T) {
			if err != nil { // the rest of the sequence does not matter
				return
			}
			draw := func(t *rapid.T) step { return d.draw(&source{t: t, step: r.sent}) }
			err = r.play(rapid.Custom(draw).Draw(t, "command"))
		},
	})
	if err == nil {
		err = r.receive()
	}
	d.commands += len(r.trace)
	if err != nil {
		d.length = min(d.length, len(r.trace))
		if d.first == "" {
			d.first = fmt.Sprintf("%s\n%v", strings.Join(r.trace, "\n"), err)
		}
		t.Logf("%s\n%v", strings.Join(r.trace, "\n"), err)
		t.Fatal("a difference") // in one place and words, by which rapid knows it again
	}
}

// draw draws a command. One in twelve is spoilt.
func (d *differential) draw(s *source) step {
	i := s.below(len(d.forms))
	st := step{line: d.lines[i], args: d.forms[i].draw(s, nil), compare: d.lines[i].compare}
	if st.compare == nil {
		st.compare = same
	}
	if s.oneIn(12) && !slices.ContainsFunc(st.args, noKey) {
		st.args = d.spoil(s, st.args)
	}
	if s.oneIn(8) {
		st.args[0] = bytes.ToLower(st.args[0])
	}
	if s.oneIn(4) {
		st.conn = 1
	}
	st.pause = s.oneIn(20)
	if s.oneIn(30) {
		st.cut = 1 + s.below(40)
	}
	return st
}

// noKey tells whether kvd would not take a word as a key, as which it may stand
// when the command is spoilt.
func noKey(word []byte) bool { return len(word) == 0 || len(word) > 1024 }

// spoil makes a command wrong, or one that nobody would send.
func (d *differential) spoil(s *source, args [][]byte) [][]byte {
	args = slices.Clone(args)
	at := s.below(len(args))
	word := []byte(odd[s.below(len(odd))])
	switch s.below(5) {
	case 0:
		return append(args, word)
	case 1:
		return append(args, []byte(d.keywords[s.below(len(d.keywords))]))
	case 2:
		if at > 0 {
			args[at] = word
		}
		return args
	case 3:
		return slices.Insert(args, 1, word)
	default:
		if len(args) == 1 {
			return args
		}
		return slices.Delete(args, max(at, 1), max(at, 1)+1)
	}
}

// String shows the command and its connection.
func (s step) String() string { return fmt.Sprintf("%d> %s", s.conn, show(s.args)) }

// A run is one sequence at work.
type run struct {
	protocols [2]int
	conns     [2][2]*conn // server, connection
	sent      int
	lingering bool            // keys may have expired and not be deleted
	await     []step          // whose replies are awaited, all of one connection
	unsent    [2][]byte       // their bytes, by server
	queued    [2][]comparison // by connection, of what MULTI has queued
	trace     []string        // what has been compared
}

// begin connects to the servers and empties them.
func (r *run) begin(servers [2]*server) error {
	for side, s := range servers {
		for i := range r.conns[side] {
			c, err := s.dial()
			if err != nil {
				return err
			}
			r.conns[side][i] = c
			c.SetDeadline(time.Now().Add(watchdog))
			if v, err := c.do("HELLO", strconv.Itoa(r.protocols[i])); err != nil || v.isError() {
				return fmt.Errorf("%s: HELLO: %v, %v", s.name, v, err)
			}
		}
		if v, err := r.conns[side][0].do("FLUSHALL"); err != nil || v.isError() {
			return fmt.Errorf("%s: FLUSHALL: %v, %v", s.name, v, err)
		}
	}
	return nil
}

func (r *run) hangUp() {
	for _, conns := range r.conns {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}
}

// play takes one more step. Its error is the first difference.
func (r *run) play(st step) error {
	r.lingering = r.lingering || strings.Contains(st.line.form, "past")
	if compare := st.compare; st.line.seesExpired { // maybe later, in a transaction
		st.compare = func(a, b reply) bool { return r.lingering || compare(a, b) }
	}
	if n := len(r.await); n > 0 && st.waitsFor(&r.await[n-1]) {
		if err := r.receive(); err != nil {
			return err
		}
	}
	return r.send(st)
}

// waitsFor tells whether a step is sent when the replies up to its predecessor
// have come.
func (s *step) waitsFor(last *step) bool {
	return s.pause || s.conn != last.conn || s.line.iterate || last.line.iterate
}

// send adds the bytes of a step to those that receive will send.
func (r *run) send(st step) error {
	for side, c := range r.pair(st.conn) {
		args := st.args
		if c.server.alter != nil {
			args = c.server.alter(args)
		}
		b := encode(args)
		if st.cut > 0 && st.cut < len(b) {
			r.unsent[side] = append(r.unsent[side], b[:st.cut]...)
			if err := r.flush(side, c); err != nil {
				return err
			}
			b = b[st.cut:]
		}
		r.unsent[side] = append(r.unsent[side], b...)
	}
	r.sent++
	r.await = append(r.await, st)
	return nil
}

// pair returns the two ends of a connection, at the right server and the tested one.
func (r *run) pair(i int) [2]*conn { return [2]*conn{r.conns[0][i], r.conns[1][i]} }

func (r *run) flush(side int, c *conn) error {
	_, err := c.Write(r.unsent[side])
	r.unsent[side] = r.unsent[side][:0]
	return err
}

// receive sends what is left to send and compares the replies to all of it.
func (r *run) receive() error {
	if len(r.await) == 0 {
		return nil
	}
	conns := r.pair(r.await[0].conn)
	for side, c := range conns {
		if err := r.flush(side, c); err != nil {
			return err
		}
	}
	for i := range r.await {
		st := &r.await[i]
		var v [2]reply
		for side, c := range conns {
			var err error
			if v[side], err = readReply(c.r); err != nil {
				return fmt.Errorf("%v\n%s: %w", st, c.server.name, err)
			}
		}
		if err := r.compare(st, v); err != nil {
			return err
		}
	}
	r.await = r.await[:0]
	return nil
}

// compare compares the replies to a step, and follows what MULTI has queued.
func (r *run) compare(st *step, v [2]reply) error {
	r.trace = append(r.trace, fmt.Sprintf("%v\n      %v", st, v[0]))
	equal := st.compare(v[0], v[1])
	queued := &r.queued[st.conn]
	switch name := strings.ToUpper(string(st.args[0])); {
	case string(v[0].raw) == "+QUEUED\r\n":
		equal = same(v[0], v[1])
		*queued = append(*queued, st.compare)
	case name == "EXEC" && v[0].kind == '*':
		equal = results(v, *queued)
		*queued = nil
	case name == "EXEC" || name == "DISCARD" || name == "RESET":
		*queued = nil
	case st.line.iterate && len(v[0].elems) == 2 && len(v[1].elems) == 2:
		var found [2][]string
		for side, c := range r.pair(st.conn) {
			var err error
			if found[side], err = c.scan(st.args, v[side]); err != nil {
				return err
			}
		}
		equal = slices.Equal(found[0], found[1])
	}
	if !equal {
		return fmt.Errorf("%s has\n      %v", r.conns[1][0].server.name, v[1])
	}
	return nil
}

// results compares two replies to EXEC.
func results(v [2]reply, queued []comparison) bool {
	if v[0].null || v[1].null || len(v[0].elems) != len(queued) || len(v[1].elems) != len(queued) {
		return same(v[0], v[1])
	}
	for i, equal := range queued {
		if !equal(v[0].elems[i], v[1].elems[i]) {
			return false
		}
	}
	return true
}

// scan goes on after the first reply to a SCAN and returns all keys that it has
// found, once each.
func (c *conn) scan(args [][]byte, v reply) ([]string, error) {
	args = slices.Clone(args)
	var found []string
	for {
		for _, e := range v.elems[1].elems {
			found = append(found, string(e.text))
		}
		if args[1] = v.elems[0].text; string(args[1]) == "0" {
			slices.Sort(found)
			return slices.Compact(found), nil
		}
		if _, err := c.Write(encode(args)); err != nil {
			return nil, err
		}
		var err error
		if v, err = readReply(c.r); err != nil {
			return nil, err
		}
		if len(v.elems) != 2 {
			return nil, fmt.Errorf("%s: %s: %v", c.server.name, show(args), v)
		}
	}
}

func show(args [][]byte) string {
	s := make([]string, len(args))
	for i, a := range args {
		s[i] = clip(a)
	}
	return strings.Join(s, " ")
}
