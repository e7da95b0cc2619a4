package server

// There is one channel: the one by which a client of RESP2 is told of keys that another
// connection, its own or not, tracks with CLIENT TRACKING REDIRECT. Nobody can publish.
const invalidations = "__redis__:invalidate"

// subscribeCommands are those of that channel.
func subscribeCommands() []*command {
	const sub = flagNoscript | flagLoading | flagStale
	return []*command{
		{name: "subscribe", arity: -2, flags: sub | flagNoMulti, since: "2.0.0", args: "channel [channel ...]",
			summary: "Listen to " + invalidations + ", the only channel", run: cmdSubscribe},
		{name: "unsubscribe", arity: -1, flags: sub | flagNoMulti, since: "2.0.0", args: "[channel [channel ...]]",
			summary: "Stop listening", run: cmdUnsubscribe},
	}
}

func cmdSubscribe(c *conn, args [][]byte) {
	for _, channel := range args[1:] {
		if string(channel) != invalidations {
			c.out.Error("ERR there is no channel but " + invalidations)
			return
		}
	}
	c.subscribed = true
	for range args[1:] {
		c.subscription("subscribe", []byte(invalidations), 1)
	}
}

func cmdUnsubscribe(c *conn, args [][]byte) {
	channels := args[1:]
	switch {
	case len(channels) > 0:
	case c.subscribed:
		channels = [][]byte{[]byte(invalidations)}
	default:
		channels = [][]byte{nil}
	}
	for _, channel := range channels {
		if channel == nil || string(channel) == invalidations {
			c.subscribed = false
		}
		n := int64(0)
		if c.subscribed {
			n = 1
		}
		c.subscription("unsubscribe", channel, n)
	}
}

// subscription answers SUBSCRIBE and its like for one channel, of which n are left.
func (c *conn) subscription(what string, channel []byte, n int64) {
	c.out.Push(3)
	c.out.BulkString(what)
	if channel == nil {
		c.out.Null()
	} else {
		c.out.Bulk(channel)
	}
	c.out.Int(n)
}

// listens tells whether the connection can take nothing now but messages, and commands
// about them: in RESP2 a client could not tell the reply of another one from a message.
func (c *conn) listens(cmd *command) bool {
	if !c.subscribed || c.out.Protocol() == 3 {
		return false
	}
	switch cmd.full {
	case "subscribe", "unsubscribe", "ping", "quit", "reset":
		return false
	}
	return true
}
