package server

// genericCommands are about keys.
func genericCommands() []*command {
	return []*command{
		{name: "del", arity: -2, flags: flagWrite, keys: allKeys("RM delete"), since: "1.0.0", args: "key [key ...]",
			summary: "Delete keys, atomically", run: cmdDel},
		{name: "exists", arity: -2, flags: flagRead | flagFast, keys: allKeys("RO"), since: "1.0.0", args: "key [key ...]",
			summary: "Count which of the given keys exist", run: cmdExists},
		{name: "scan", arity: -2, flags: flagRead | flagWhole, since: "2.8.0", args: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
			summary: "Iterate over the keys, in order", run: cmdScan},
	}
}

func cmdExists(c *conn, args [][]byte) {
	n := int64(0)
	for _, key := range args[1:] {
		ok, err := c.srv.db.Has(key)
		if err != nil {
			c.fail(err)
			return
		}
		if ok {
			n++
		}
	}
	c.out.Int(n)
}

func cmdDel(c *conn, args [][]byte) {
	c.batch.Reset()
	c.batch.WantFound()
	for _, key := range args[1:] {
		if err := c.batch.Delete(key); err != nil {
			c.refuseWrite(err)
			return
		}
	}
	if c.apply() {
		c.out.Int(int64(c.batch.Found()))
	}
}
