package server

import (
	"math"
	"strconv"
	"time"
)

const errDebug = `ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", ` +
	`you can run it from a local connection, otherwise you need to set this option in the configuration file, ` +
	`and then restart the server.`

// cmdDebug has the few subcommands that tests of clients use, if it is allowed.
func cmdDebug(c *conn, args [][]byte) {
	switch {
	case !c.srv.opts.Debug:
		c.out.Error(errDebug)
	case isWord(args[1], "sleep") && len(args) == 3:
		c.sleep(args[2])
	case isWord(args[1], "reload") && len(args) == 2 && !c.srv.Ready():
		c.out.Error(errLoading)
	case isWord(args[1], "reload") && len(args) == 2:
		cmdSave(c, args[1:])
	case isWord(args[1], "set-active-expire") && len(args) == 3:
		c.out.Status("OK") // expired keys are not seen either way
	default:
		c.out.Error("ERR unknown subcommand or wrong number of arguments for '" + string(clip(args[1], 128)) + "'. Try DEBUG HELP.")
	}
}

// sleep keeps the connection waiting, in seconds; others go on.
func (c *conn) sleep(arg []byte) {
	seconds, err := strconv.ParseFloat(string(arg), 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 {
		seconds = 0
	}
	t := time.NewTimer(time.Duration(min(seconds, 1e6) * float64(time.Second)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.srv.ctx.Done():
	}
	c.out.Status("OK")
}
