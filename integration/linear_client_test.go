package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"faultline/server/resp/resptest"
)

const (
	linearKeys = 60
	hotKeys    = 8 // that half of all operations go to
)

// linearKey is the key of number n. Some are long, so that the tree has inner
// nodes.
func linearKey(n int) string {
	return fmt.Sprintf("%02d", n) + strings.Repeat("k", n%7*n%900)
}

// randomKey is one of so many.
func randomKey(rng *rand.Rand, keys int) string {
	if rng.IntN(2) == 0 {
		return linearKey(rng.IntN(hotKeys))
	}
	return linearKey(rng.IntN(keys))
}

// linearValue is the value that stands for n. Its length follows from n, so that
// one that is made of two is noticed.
func linearValue(n int) string {
	return fmt.Sprintf("%d.", n) + strings.Repeat("v", n*37%1500)
}

// parseValue is the inverse of linearValue; nothing is 0.
func parseValue(r resptest.Reply) (int, error) {
	if r.Null {
		return 0, nil
	}
	number, _, _ := strings.Cut(r.Str, ".")
	n, err := strconv.Atoi(number)
	if err != nil || n <= 0 || r.Str != linearValue(n) {
		return 0, fmt.Errorf("a value that was never written: %.40q (%d bytes)", r.Str, len(r.Str))
	}
	return n, nil
}

// A site is where clients find the server. It changes with every restart.
type site struct {
	mu      sync.Mutex
	changed sync.Cond
	addr    string
	life    int  // of the server that listens there
	ending  bool // its connections may end
	doubt   bool // its disk fails: what it shows may be taken back
	closed  bool // no life comes after it
	waiting int  // clients that wait for the next one
}

func newSite() *site {
	s := new(site)
	s.changed.L = &s.mu
	return s
}

func (s *site) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	s.changed.Broadcast()
}

// open begins a life.
func (s *site) open(addr string) {
	s.change(func() { s.addr, s.ending, s.doubt, s.life = addr, false, false, s.life+1 })
}

// end says that the life is about to end; doubt that its disk fails before.
func (s *site) end(doubt bool) { s.change(func() { s.ending, s.doubt = true, doubt }) }

// close ends the work of all clients.
func (s *site) close() { s.change(func() { s.closed = true }) }

// awaitWaiting waits until n clients wait for the next life.
func (s *site) awaitWaiting(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.waiting < n && !s.closed {
		s.changed.Wait()
	}
}

// after waits for a life after the given one.
func (s *site) after(life int) (addr string, next int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting++
	s.changed.Broadcast()
	for s.life == life && !s.closed {
		s.changed.Wait()
	}
	s.waiting--
	return s.addr, s.life
}

// state tells of a life whether it may end, and whether its disk fails.
func (s *site) state(life int) (ending, doubt, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life != life || s.ending, s.life == life && s.doubt, s.closed
}

// visit calls fn with each life, in which fn works until the life ends, and returns
// when the site is closed, or with the error of a life that was not about to end.
func (s *site) visit(fn func(addr string, life int) error) error {
	for life := 0; ; {
		var addr string
		addr, life = s.after(life)
		err := fn(addr, life)
		ending, _, closed := s.state(life)
		switch {
		case closed:
			return nil
		case !ending:
			return fmt.Errorf("life %d: %w", life, err)
		}
	}
}

// A request is one command, and what it asks of each of its keys.
type request struct {
	name string
	ins  []input
}

func (q request) args() []string {
	args := []string{q.name}
	for _, in := range q.ins {
		args = append(args, in.key)
		if in.kind == set {
			args = append(args, linearValue(in.value))
		}
	}
	return args
}

// outputs is what a reply says of each key.
func (q request) outputs(r resptest.Reply) (outs []output, err error) {
	if err := r.Err(); err != nil {
		return nil, err
	}
	outs = make([]output, len(q.ins))
	switch q.name {
	case "SET", "MSET":
		if r.String() != "+OK" {
			return nil, fmt.Errorf("reply to %s: %v", q.name, r)
		}
	case "DEL":
		outs[0].found = int(r.Int)
	case "GET":
		outs[0].value, err = parseValue(r)
	case "MGET":
		for i := range outs {
			value, valueErr := parseValue(r.Array[i])
			outs[i].value, err = value, errors.Join(err, valueErr)
		}
	}
	return outs, err
}

// A recorder is a client that notes the time of all that it does.
type recorder struct {
	id     int
	rng    *rand.Rand
	keys   int
	site   *site
	began  time.Time
	values *atomic.Int64 // the last one that some client has set
	answer func()        // after each operation that was answered

	history []porcupine.Operation
	open    []porcupine.Operation // of this life
}

// pipeline is how many requests are sent at once, sometimes.
const pipeline = 8

func (r *recorder) newSet(key string) input {
	return input{kind: set, key: key, value: int(r.values.Add(1))}
}

func (r *recorder) request() request {
	key, other := randomKey(r.rng, r.keys), randomKey(r.rng, r.keys)
	switch n := r.rng.IntN(20); {
	case n < 8:
		return request{"GET", []input{{key: key}}}
	case n < 9:
		return request{"MGET", []input{{key: key}, {key: other}}}
	case n < 12:
		return request{"DEL", []input{{kind: del, key: key}}}
	case n < 14 && key != other:
		return request{"MSET", []input{r.newSet(key), r.newSet(other)}}
	}
	return request{"SET", []input{r.newSet(key)}}
}

// run works until the site is closed. It begins again with every life of the
// server. Its error is what no client may see.
func (r *recorder) run() error {
	err := r.site.visit(func(addr string, life int) error {
		r.endLife()
		return r.connect(addr, life)
	})
	if err != nil {
		return fmt.Errorf("client %d: %w", r.id, err)
	}
	return nil
}

// endLife ends the operations that are open. The server that could have done them
// is dead.
func (r *recorder) endLife() {
	for _, op := range r.open {
		op.Return = int64(time.Since(r.began))
		r.history = append(r.history, op)
	}
	r.open = nil
}

func (r *recorder) connect(addr string, life int) error {
	conn, err := resptest.Dial(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(watchdog)); err != nil {
		return err
	}
	for {
		if _, _, closed := r.site.state(life); closed {
			return nil
		}
		n := 1
		if r.rng.IntN(32) == 0 {
			n += r.rng.IntN(pipeline)
		}
		requests := make([]request, n)
		for i := range requests {
			requests[i] = r.request()
		}
		if err := r.do(conn, life, requests); err != nil {
			return err
		}
	}
}

// do sends requests and notes what comes of them. After an error those without an
// answer are open, and so is one that was answered with an error: a server whose
// disk has failed does not know either.
func (r *recorder) do(conn *resptest.Conn, life int, requests []request) error {
	for _, q := range requests {
		conn.Send(q.args()...)
	}
	call := int64(time.Since(r.began))
	err := conn.Flush()
	for i, q := range requests {
		var reply resptest.Reply
		if err == nil {
			reply, err = conn.Receive()
		}
		var outs []output
		if err == nil {
			outs, err = q.outputs(reply)
		}
		r.note(i, life, q, outs, call)
		if err == nil {
			r.answer()
		}
	}
	return err
}

// note adds a request to the history; outs is nil if it is open. Of a read that
// is open, or of a server whose disk fails, there is nothing to say: it may show
// writes that are never acknowledged.
func (r *recorder) note(slot, life int, q request, outs []output, call int64) {
	_, doubt, _ := r.site.state(life)
	for i, in := range q.ins {
		op := porcupine.Operation{
			ClientId: r.id*pipeline + slot, Input: in, Call: call,
			Output: output{open: true}, Return: int64(time.Since(r.began)),
		}
		switch {
		case in.kind == get && (outs == nil || doubt):
			continue
		case outs != nil:
			op.Output = outs[i]
			r.history = append(r.history, op)
		default:
			r.open = append(r.open, op)
		}
	}
}
