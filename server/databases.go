package server

import (
	"strconv"

	"faultline/server/resp"
	"faultline/store"
)

// Database n of SELECT is the keyspace of that name, and 0 is the default one. A keyspace
// is made when its database is first used.

// space returns the keyspace of a database, nil for the default one.
func (s *Server) space(db int) (*store.Keyspace, error) {
	if db == 0 {
		return nil, nil
	}
	return s.db.Keyspace(strconv.Itoa(db))
}

// use has the commands that follow be about a database.
func (c *conn) use(db int) error {
	space, err := c.srv.space(db)
	if err != nil {
		return err
	}
	c.db, c.space = db, space
	if c.tx != nil {
		c.tx.Use(space)
	}
	return nil
}

// keys returns the database that is selected.
func (c *conn) keys() keyspace {
	if c.space != nil {
		return c.space
	}
	return c.srv.db
}

// cmdSelect takes any number while the store recovers: there is no keyspace to use yet.
func cmdSelect(c *conn, args [][]byte) {
	db, ok := c.database(args[1])
	if !ok {
		return
	}
	if !c.srv.Ready() {
		c.db, c.space = db, nil
	} else if err := c.use(db); err != nil {
		c.fail(err)
		return
	}
	c.out.Status("OK")
}

// database parses the number of a database, or answers with the error.
func (c *conn) database(arg []byte) (db int, ok bool) {
	n, ok := c.integer(arg)
	switch {
	case !ok:
	case n != int64(int32(n)):
		c.out.Error("ERR value is out of range, value must between -2147483648 and 2147483647")
	case n < 0 || n >= int64(c.srv.opts.Databases):
		c.out.Error("ERR DB index is out of range")
	default:
		return int(n), true
	}
	return 0, false
}

func cmdFlushdb(c *conn, args [][]byte) {
	if c.flushMode(args[1:]) {
		c.clear([]int{c.db})
	}
}

func cmdFlushall(c *conn, args [][]byte) {
	if !c.flushMode(args[1:]) {
		return
	}
	var all []int
	for _, name := range c.srv.db.Keyspaces() {
		if db, ok := c.srv.databaseNamed(name); ok {
			all = append(all, db)
		}
	}
	c.clear(all)
}

// databaseNamed returns the database whose keyspace has that name.
func (s *Server) databaseNamed(name string) (db int, ok bool) {
	if name == "" {
		return 0, true
	}
	n, ok := resp.ParseInt([]byte(name))
	return int(n), ok && 0 < n && n < int64(s.opts.Databases)
}

// flushMode checks the argument of FLUSHALL and FLUSHDB, which makes no difference: the
// keys are gone at once, and what they leave is reclaimed in the background. It answers
// with the error.
func (c *conn) flushMode(opts [][]byte) (ok bool) {
	if len(opts) == 0 || len(opts) == 1 && (isWord(opts[0], "async") || isWord(opts[0], "sync")) {
		return true
	}
	c.out.Error(errSyntax)
	return false
}

// clear deletes all keys of the databases, of each of them at once.
func (c *conn) clear(databases []int) {
	for _, db := range databases {
		name := ""
		if db > 0 {
			name = strconv.Itoa(db)
		}
		ks, err := c.srv.db.Keyspace(name)
		if err == nil {
			err = ks.Clear(c.srv.ctx)
		}
		if err != nil {
			c.refuseWrite(err)
			return
		}
	}
	c.srv.tracking.flush(c)
	c.hasRead = true // the reply waits for what is on disk by now
	c.out.Status("OK")
}
