package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"

	"faultline/server/resp/resptest"
)

const (
	hotCounters  = 4
	accounts     = 12
	startBalance = 1000
)

func counterKey(i int) string { return fmt.Sprintf("counter:%d", i) }
func accountKey(i int) string { return fmt.Sprintf("account:%d", i) }

// An exactLedger knows what all clients together have done.
type exactLedger struct {
	mu        sync.Mutex
	counters  [hotCounters]hotCounter
	transfers int
	conflicts int
	doubts    int // operations that were in flight when a server was killed
	expired   int // keys that were found to have expired
}

// A hotCounter is one that all clients increment.
type hotCounter struct {
	acked, doubt int64          // increments that were answered, and that were not
	seen         map[int64]bool // what they were answered with: each number once
}

func newExactLedger() *exactLedger {
	l := new(exactLedger)
	for i := range l.counters {
		l.counters[i].seen = map[int64]bool{}
	}
	return l
}

func (l *exactLedger) String() string {
	sum := int64(0)
	for i := range l.counters {
		sum += l.counters[i].acked
	}
	return fmt.Sprintf("%d counted, %d transfers, %d conflicts, %d expired, %d in doubt", sum, l.transfers, l.conflicts, l.expired, l.doubts)
}

func (l *exactLedger) note(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

// counted takes the answer to an increment of counter i.
func (l *exactLedger) counted(i int, r resptest.Reply) error {
	n, err := number(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.counters[i]
	if c.seen[n] {
		return wrong("%s was %d twice", counterKey(i), n)
	}
	c.seen[n] = true
	c.acked++
	return nil
}

// begin gives every account its first balance.
func (l *exactLedger) begin(conn *resptest.Conn) error {
	args := []string{"MSET"}
	for i := range accounts {
		args = append(args, accountKey(i), strconv.Itoa(startBalance))
	}
	_, err := conn.Do(args...)
	return err
}

// sum compares the sum of all accounts with what it always is.
func (l *exactLedger) sum(conn *resptest.Conn) error {
	args := []string{"MGET"}
	for i := range accounts {
		args = append(args, accountKey(i))
	}
	r, err := conn.Do(args...)
	if err != nil {
		return replied(r, err)
	}
	sum := int64(0)
	for _, balance := range r.Array {
		n, err := number(balance)
		if err != nil {
			return err
		}
		sum += n
	}
	if sum != accounts*startBalance {
		return wrong("the sum of all accounts is %d, want %d: %v", sum, accounts*startBalance, r)
	}
	return nil
}

// verify compares the counters and accounts with what was answered. What is there is what
// counts from then on.
func (l *exactLedger) verify(conn *resptest.Conn) error {
	for i := range l.counters {
		c := &l.counters[i]
		r, err := conn.Do("GET", counterKey(i))
		if err != nil {
			return replied(r, err)
		}
		n, err := number(r)
		if err != nil {
			return err
		}
		if n < c.acked || n > c.acked+c.doubt {
			return wrong("%s is %d after %d increments, and %d that were not answered", counterKey(i), n, c.acked, c.doubt)
		}
		for seen := range c.seen {
			if seen > n {
				return wrong("%s is %d, and was %d before", counterKey(i), n, seen)
			}
		}
		l.doubts += int(c.doubt)
		c.acked, c.doubt = n, 0
	}
	return l.sum(conn)
}

// replied makes an error reply one that is not the end of a connection.
func replied(r resptest.Reply, err error) error {
	if err != nil && r.Kind == '-' {
		return wrong("%v", err)
	}
	return err
}

func asWrong(err error, to **wrongReply) bool { return errors.As(err, to) }

// An ownCounter is a counter that one client alone increments.
type ownCounter struct {
	key   string
	acked int64
	doubt bool // one more may have been counted
}

// verify compares it with what is there.
func (a *ownCounter) verify(conn *resptest.Conn) error {
	r, err := conn.Do("GET", a.key)
	if err != nil {
		return replied(r, err)
	}
	n, err := number(r)
	if err != nil {
		return err
	}
	if n != a.acked && !(a.doubt && n == a.acked+1) {
		return wrong("%s is %d after %d increments, one more in flight: %t", a.key, n, a.acked, a.doubt)
	}
	a.acked, a.doubt = n, false
	return nil
}

// answered takes the answer to an increment.
func (a *ownCounter) answered(r resptest.Reply) error {
	n, err := number(r)
	if err != nil {
		return err
	}
	a.acked++
	a.doubt = false
	if n != a.acked {
		return wrong("%s is %d, want %d", a.key, n, a.acked)
	}
	return nil
}

// An exactClient does one thing after the other, each of its own kind, and knows what
// must follow.
type exactClient struct {
	id     int
	rng    *rand.Rand
	ledger *exactLedger
	own    ownCounter // beside a hot counter, in one transaction
	moved  ownCounter // its transfers, each in its transaction
	keys   []*expiringKey
}

func newExactClient(id int, l *exactLedger, rng *rand.Rand) *exactClient {
	c := &exactClient{
		id: id, rng: rng, ledger: l,
		own:   ownCounter{key: fmt.Sprintf("own:%d", id)},
		moved: ownCounter{key: fmt.Sprintf("moved:%d", id)},
	}
	for i := range 6 {
		c.keys = append(c.keys, newExpiringKey(fmt.Sprintf("expiring:%d:%d", id, i)))
	}
	return c
}

// step makes one operation. Its error is how the connection ended, or a wrongReply.
func (c *exactClient) step(conn *resptest.Conn) error {
	switch n := c.rng.IntN(20); {
	case n < 5:
		return c.increment(conn)
	case n < 8:
		return c.incrementTwo(conn)
	case n < 11:
		return c.transfer(conn)
	case n < 13:
		return c.transferWatched(conn)
	case n < 14:
		return c.ledger.sum(conn)
	}
	k := c.keys[c.rng.IntN(len(c.keys))]
	return k.step(conn, c.rng, c.ledger)
}

// verify compares what the client alone has written with what is there.
func (c *exactClient) verify(conn *resptest.Conn) error {
	for _, a := range []*ownCounter{&c.own, &c.moved} {
		if a.doubt {
			c.ledger.note(func() { c.ledger.doubts++ })
		}
		if err := a.verify(conn); err != nil {
			return err
		}
	}
	for _, k := range c.keys {
		gone, err := k.verify(conn)
		if err != nil {
			return err
		}
		if gone {
			c.ledger.expired++
		}
	}
	return nil
}

// increment counts with a hot counter.
func (c *exactClient) increment(conn *resptest.Conn) error {
	i := c.rng.IntN(hotCounters)
	hot := &c.ledger.counters[i]
	c.ledger.note(func() { hot.doubt++ })
	r, err := conn.Do("INCR", counterKey(i))
	if err != nil {
		return replied(r, err)
	}
	c.ledger.note(func() { hot.doubt-- })
	return c.ledger.counted(i, r)
}

// incrementTwo counts with its own counter and a hot one, in one transaction.
func (c *exactClient) incrementTwo(conn *resptest.Conn) error {
	i := c.rng.IntN(hotCounters)
	hot := &c.ledger.counters[i]
	c.ledger.note(func() { hot.doubt++ })
	c.own.doubt = true
	r, err := transact(conn, []string{"INCR", c.own.key}, []string{"INCR", counterKey(i)})
	if err != nil {
		return err
	}
	if len(r.Array) != 2 {
		return wrong("EXEC: %v", r)
	}
	c.ledger.note(func() { hot.doubt-- })
	return errors.Join(c.own.answered(r.Array[0]), c.ledger.counted(i, r.Array[1]))
}

// transact sends a transaction in one piece and returns the reply to EXEC.
func transact(conn *resptest.Conn, commands ...[]string) (r resptest.Reply, err error) {
	conn.Send("MULTI")
	for _, args := range commands {
		conn.Send(args...)
	}
	conn.Send("EXEC")
	if err := conn.Flush(); err != nil {
		return r, err
	}
	for range len(commands) + 2 {
		if r, err = conn.Receive(); err != nil {
			return r, err
		}
		if err := r.Err(); err != nil {
			return r, wrong("%v", err)
		}
	}
	return r, nil
}

// two returns two accounts and an amount.
func (c *exactClient) two() (from, to string, amount int) {
	i := c.rng.IntN(accounts)
	j := (i + 1 + c.rng.IntN(accounts-1)) % accounts
	return accountKey(i), accountKey(j), 1 + c.rng.IntN(100)
}

// transfer moves an amount from one account to another.
func (c *exactClient) transfer(conn *resptest.Conn) error {
	from, to, amount := c.two()
	c.moved.doubt = true
	r, err := transact(conn,
		[]string{"DECRBY", from, strconv.Itoa(amount)},
		[]string{"INCRBY", to, strconv.Itoa(amount)},
		[]string{"INCR", c.moved.key})
	if err != nil {
		return err
	}
	return c.transferred(r, 3)
}

// transferWatched reads both balances and sets both, unless somebody comes between.
func (c *exactClient) transferWatched(conn *resptest.Conn) error {
	from, to, amount := c.two()
	if r, err := conn.Do("WATCH", from, to); err != nil {
		return replied(r, err)
	}
	r, err := conn.Do("MGET", from, to)
	if err != nil {
		return replied(r, err)
	}
	a, errA := number(r.Array[0])
	b, errB := number(r.Array[1])
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	c.moved.doubt = true
	r, err = transact(conn,
		[]string{"SET", from, strconv.FormatInt(a-int64(amount), 10)},
		[]string{"SET", to, strconv.FormatInt(b+int64(amount), 10)},
		[]string{"INCR", c.moved.key})
	if err != nil {
		return err
	}
	if r.Null {
		c.moved.doubt = false
		c.ledger.note(func() { c.ledger.conflicts++ })
		return nil
	}
	return c.transferred(r, 3)
}

// transferred takes the reply to the EXEC of a transfer, whose last command counts it.
func (c *exactClient) transferred(r resptest.Reply, n int) error {
	if len(r.Array) != n {
		return wrong("EXEC: %v", r)
	}
	c.ledger.note(func() { c.ledger.transfers++ })
	return c.moved.answered(r.Array[n-1])
}
