package server

import (
	"errors"
	"strings"

	"faultline/server/resp"
	"faultline/store"
)

// objectCommands are those of OBJECT. There are no objects: they answer what a client
// expects of a string.
func objectCommands() []*command {
	key := subKey("RO")
	return []*command{
		{name: "encoding", arity: 3, flags: flagRead, keys: key, since: "2.2.3", args: "key",
			summary: "Tell how Redis would keep the value: int, embstr or raw", run: cmdObjectEncoding},
		{name: "freq", arity: 3, flags: flagRead, keys: key, since: "4.0.0", args: "key",
			summary: "Refuse to tell how often the key is used, which nobody counts", run: cmdObjectFreq},
		{name: "idletime", arity: 3, flags: flagRead, keys: key, since: "2.2.3", args: "key",
			summary: "Tell that the key was used just now, since nobody notes it", run: cmdObjectIdletime},
		{name: "refcount", arity: 3, flags: flagRead, keys: key, since: "2.2.3", args: "key",
			summary: "Tell that the value is used once", run: cmdObjectRefcount},
	}
}

// memoryCommands are those of MEMORY.
func memoryCommands() []*command {
	return []*command{
		{name: "doctor", arity: 2, since: "4.0.0",
			summary: "Tell where to look instead", run: cmdMemoryDoctor},
		{name: "purge", arity: 2, since: "4.0.0",
			summary: "Do nothing: memory is given back by itself", run: cmdMemoryPurge},
		{name: "stats", arity: 2, since: "4.0.0",
			summary: "Tell what uses memory, in bytes", run: cmdMemoryStats},
		{name: "usage", arity: -3, flags: flagRead, keys: subKey("RO"), since: "4.0.0", args: "key [SAMPLES count]",
			summary: "Estimate how many bytes a key takes", run: cmdMemoryUsage},
	}
}

// ofKey answers with write if key is there, and with nil if it is not.
func (c *conn) ofKey(key []byte, write func()) {
	switch found, err := c.view().Has(key); {
	case err != nil:
		c.fail(err)
	case found:
		write()
	default:
		c.out.Null()
	}
}

// embstrBytes is the longest value that Redis keeps beside its header.
const embstrBytes = 44

func cmdObjectEncoding(c *conn, args [][]byte) {
	n, err := c.view().ValueBytes(args[2])
	if err == nil && n <= embstrBytes {
		c.scratch, err = c.view().AppendGetRange(c.scratch[:0], args[2], 0, embstrBytes)
	}
	_, isInt := resp.ParseInt(c.scratch)
	switch {
	case errors.Is(err, store.ErrNotFound):
		c.out.Null()
	case err != nil:
		c.fail(err)
	case n > embstrBytes:
		c.out.BulkString("raw")
	case isInt:
		c.out.BulkString("int")
	default:
		c.out.BulkString("embstr")
	}
}

func cmdObjectFreq(c *conn, args [][]byte) {
	c.ofKey(args[2], func() {
		c.out.Error("ERR An LFU maxmemory policy is not selected, access frequency not tracked. " +
			"Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
	})
}

func cmdObjectIdletime(c *conn, args [][]byte) { c.ofKey(args[2], func() { c.out.Int(0) }) }
func cmdObjectRefcount(c *conn, args [][]byte) { c.ofKey(args[2], func() { c.out.Int(1) }) }

// entryBytes is what a key takes in a page beside its bytes and those of its value.
const entryBytes = 16

func cmdMemoryUsage(c *conn, args [][]byte) {
	if len(args) > 3 {
		if len(args) != 5 || !isWord(args[3], "samples") {
			c.out.Error(errSyntax)
			return
		}
		n, ok := c.integer(args[4])
		if !ok {
			return
		}
		if n < 0 {
			c.out.Error(errSyntax)
			return
		}
	}
	switch n, err := c.view().ValueBytes(args[2]); {
	case errors.Is(err, store.ErrNotFound):
		c.out.Null()
	case err != nil:
		c.fail(err)
	default:
		c.out.Int(int64(len(args[2]) + n + entryBytes))
	}
}

func cmdMemoryDoctor(c *conn, _ [][]byte) {
	c.out.Verbatim("The store keeps to the memory that it was given: see used_memory and store_memory_ in INFO.\n")
}

func cmdMemoryPurge(c *conn, _ [][]byte) { c.out.Status("OK") }

// cmdMemoryStats has what INFO has of memory, under the same names.
func cmdMemoryStats(c *conn, _ [][]byte) {
	var names []string
	var values []int64
	c.srv.infoMemory(func(name string, value any) {
		switch v := value.(type) {
		case uint64:
			names, values = append(names, name), append(values, int64(v))
		case int64:
			names, values = append(names, name), append(values, v)
		}
	})
	c.out.Map(len(names))
	for i, name := range names {
		c.out.BulkString(strings.ReplaceAll(name, "_", "."))
		c.out.Int(values[i])
	}
}
