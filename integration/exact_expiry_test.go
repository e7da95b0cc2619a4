package integration

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"faultline/server/resp/resptest"
)

// An expiringKey is a key of one client that it sets, with a time to live or without, and
// what must be there: it is the newest state that was answered, or the one in flight.
type expiringKey struct {
	key   string
	n     int // makes every value unlike any other
	now   keyState
	doubt *keyState // that of an operation that was not answered; nil: there is none
}

// A keyState is what a key has. Times are in milliseconds since 1970.
type keyState struct {
	there  bool
	value  string
	lo, hi int64 // when it expires lies between these; 0: never
}

// shortLife is how many milliseconds a key lives at most that is not there for good: some
// expire in one life of the server, some while it is down.
const shortLife = 100

func newExpiringKey(key string) *expiringKey { return &expiringKey{key: key} }

func (s keyState) String() string {
	switch {
	case !s.there:
		return "nothing"
	case s.hi == 0:
		return s.value
	}
	return fmt.Sprintf("%s until %d to %d", s.value, s.lo, s.hi)
}

func nowMs() int64 { return time.Now().UnixMilli() }

// mayBeGone tells whether the key may have expired by t.
func (s keyState) mayBeGone(t int64) bool { return !s.there || s.hi > 0 && t >= s.lo }

// mayBeThere tells whether the key may still be there at t.
func (s keyState) mayBeThere(t int64) bool { return s.there && (s.hi == 0 || t <= s.hi) }

// step makes one operation on the key.
func (k *expiringKey) step(conn *resptest.Conn, rng *rand.Rand, l *exactLedger) error {
	switch rng.IntN(10) {
	case 0:
		return k.set(conn, 0)
	case 1, 2:
		return k.set(conn, 1+rng.Int64N(shortLife))
	case 3:
		return k.set(conn, time.Hour.Milliseconds())
	case 4:
		return k.setAt(conn, nowMs()+1+rng.Int64N(shortLife))
	case 5:
		return k.renew(conn, 1+rng.Int64N(shortLife), "GETEX", k.key, "PX")
	case 6:
		return k.renew(conn, time.Hour.Milliseconds(), "PEXPIRE", k.key)
	case 7:
		return k.keep(conn, "PERSIST", k.key)
	case 8:
		return k.keep(conn, "GETEX", k.key, "PERSIST")
	}
	gone, err := k.look(conn)
	if gone {
		l.note(func() { l.expired++ })
	}
	return err
}

func (k *expiringKey) newValue() string {
	k.n++
	return fmt.Sprintf("%s=%d", k.key, k.n)
}

// set sets the key, for so many milliseconds if not 0.
func (k *expiringKey) set(conn *resptest.Conn, ms int64) error {
	next := keyState{there: true, value: k.newValue()}
	args := []string{"SET", k.key, next.value}
	if ms > 0 {
		args = append(args, "PX", strconv.FormatInt(ms, 10))
	}
	return k.write(conn, next, ms, args)
}

// setAt sets the key until a time.
func (k *expiringKey) setAt(conn *resptest.Conn, at int64) error {
	next := keyState{there: true, value: k.newValue(), lo: at, hi: at}
	return k.write(conn, next, 0, []string{"SET", k.key, next.value, "PXAT", strconv.FormatInt(at, 10)})
}

// write sends a command that sets the key whatever it has.
func (k *expiringKey) write(conn *resptest.Conn, next keyState, ms int64, args []string) error {
	r, err := k.try(conn, &next, ms, args)
	if err != nil {
		return err
	}
	if r.String() != "+OK" {
		return wrong("%q: %v", args, r)
	}
	k.now, k.doubt = next, nil
	return nil
}

// try sends a command after which the key may have next, for so many milliseconds if not 0.
func (k *expiringKey) try(conn *resptest.Conn, next *keyState, ms int64, args []string) (resptest.Reply, error) {
	k.doubt = next
	if ms > 0 {
		next.lo, next.hi = nowMs()+ms, nowMs()+ms+watchdog.Milliseconds()
	}
	r, err := conn.Do(args...)
	if ms > 0 {
		next.hi = nowMs() + ms // it was executed by now, or never will be
	}
	return r, replied(r, err)
}

// renew sends a command that gives the key so many milliseconds, if it is there.
func (k *expiringKey) renew(conn *resptest.Conn, ms int64, args ...string) error {
	return k.change(conn, ms, append(args, strconv.FormatInt(ms, 10)))
}

// keep sends a command after which the key does not expire, if it is there.
func (k *expiringKey) keep(conn *resptest.Conn, args ...string) error { return k.change(conn, 0, args) }

// change sends a command that changes when the key expires, and answers with whether it is
// there, or with what it has.
func (k *expiringKey) change(conn *resptest.Conn, ms int64, args []string) error {
	next := k.now
	next.lo, next.hi = 0, 0
	before := nowMs()
	r, err := k.try(conn, &next, ms, args)
	if err != nil {
		return err
	}
	k.doubt = nil
	was, after := k.now, nowMs()
	switch {
	case r.Kind == '$' && r.Null, r.Kind == ':' && r.Int == 0 && ms > 0:
		k.now = keyState{}
		if !was.mayBeGone(after) {
			return wrong("%q: %v, it has %v", args, r, was)
		}
	case r.Kind == ':' && r.Int == 0: // PERSIST: it is gone, or never expires anyway
		if was.there && was.hi > 0 {
			k.now = keyState{}
			if !was.mayBeGone(after) {
				return wrong("%q: %v, it has %v", args, r, was)
			}
		}
	default:
		if !was.mayBeThere(before) || r.Kind == '$' && r.Str != was.value {
			return wrong("%q at %d: %v, it has %v", args, before, r, was)
		}
		k.now = next
	}
	return nil
}

// look compares what the key has with what it must have; gone tells that it was found to
// have expired.
func (k *expiringKey) look(conn *resptest.Conn) (gone bool, err error) {
	found, before, after, err := k.read(conn)
	if err != nil {
		return false, err
	}
	if !k.now.allows(found, before, after) {
		return false, wrong("%s has %v at %d to %d, want %v", k.key, found, before, after, k.now)
	}
	gone = !found.there && k.now.there
	k.now = found
	return gone, nil
}

// read returns what the key has at some moment from before to after.
func (k *expiringKey) read(conn *resptest.Conn) (found keyState, before, after int64, err error) {
	before = nowMs()
	r, err := transact(conn, []string{"GET", k.key}, []string{"PEXPIRETIME", k.key})
	after = nowMs()
	if err != nil {
		return found, before, after, err
	}
	if len(r.Array) != 2 {
		return found, before, after, wrong("EXEC: %v", r)
	}
	value, at := r.Array[0], r.Array[1].Int
	if value.Null != (at == -2) {
		return found, before, after, wrong("%s: GET %v, PEXPIRETIME %d, in one transaction", k.key, value, at)
	}
	if !value.Null {
		found = keyState{there: true, value: value.Str}
		if at >= 0 {
			found.lo, found.hi = at, at
		}
	}
	return found, before, after, nil
}

// allows tells whether found can be what is left of s at some moment from before to after.
func (s keyState) allows(found keyState, before, after int64) bool {
	if !found.there {
		return s.mayBeGone(after)
	}
	return s.mayBeThere(before) && found.value == s.value && found.lo >= s.lo && found.hi <= s.hi &&
		(found.hi == 0) == (s.hi == 0) && (found.hi == 0 || found.hi >= before)
}

// verify is look after a kill, when the operation in flight may have been made.
func (k *expiringKey) verify(conn *resptest.Conn) (gone bool, err error) {
	found, before, after, err := k.read(conn)
	if err != nil {
		return false, err
	}
	if !k.now.allows(found, before, after) && (k.doubt == nil || !k.doubt.allows(found, before, after)) {
		return false, wrong("%s has %v at %d to %d, want %v, or in flight %v", k.key, found, before, after, k.now, k.doubt)
	}
	gone = !found.there && k.now.there
	k.now, k.doubt = found, nil
	return gone, nil
}

// TestKeyState shows what the oracle of TestExact finds: a key that is there too long or not
// long enough, with another value, or with another time to live.
func TestKeyState(t *testing.T) {
	never := keyState{there: true, value: "v"}
	until := func(lo, hi int64) keyState { return keyState{there: true, value: "v", lo: lo, hi: hi} }
	for _, c := range []struct {
		name          string
		must, found   keyState
		before, after int64
		allowed       bool
	}{
		{"nothing", keyState{}, keyState{}, 1, 2, true},
		{"something from nothing", keyState{}, never, 1, 2, false},
		{"for good", never, never, 1, 2, true},
		{"lost", never, keyState{}, 1, 2, false},
		{"another value", never, keyState{there: true, value: "w"}, 1, 2, false},
		{"expires though it should not", never, until(9, 9), 1, 2, false},
		{"before its end", until(10, 12), until(11, 11), 5, 6, true},
		{"no longer expires", until(10, 12), never, 5, 6, false},
		{"expires too early", until(10, 12), until(9, 9), 5, 6, false},
		{"expires too late", until(10, 12), until(13, 13), 5, 6, false},
		{"gone too early", until(10, 12), keyState{}, 5, 9, false},
		{"gone in time", until(10, 12), keyState{}, 5, 10, true},
		{"gone for long", until(10, 12), keyState{}, 50, 51, true},
		{"there while it ends", until(10, 12), until(11, 11), 11, 13, true},
		{"there too long", until(10, 12), until(11, 11), 12, 13, false},
		{"back", until(10, 12), until(12, 12), 50, 51, false},
	} {
		if got := c.must.allows(c.found, c.before, c.after); got != c.allowed {
			t.Errorf("%s: %v, must be %v: allowed %t", c.name, c.found, c.must, got)
		}
	}
}
