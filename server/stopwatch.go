package server

import "time"

// A stopwatch measures what commands take. To look at the clock costs as much as a third
// of a GET, so up to runLength short commands of one kind that follow each other are
// measured together:
//
//	GET GET GET GET GET GET GET GET  SET  MGET  |wait|  GET
//	|<---------- a run ----------->|<--->|<---->|      |<->|
//
// What is between commands of one pipeline belongs to the second; what a connection waits
// for does not count. The slow log has each command for itself only if its threshold is
// below exactBelow: else the last of a run stands for it.
type stopwatch struct {
	running bool
	began   time.Duration // the run, since the start of the server
	cmd     *command      // of the run
	calls   int64         // in it, that have ended
}

const (
	runLength  = 8
	exactBelow = time.Millisecond
)

// begin is called before a command. What it returns is for end.
func (w *stopwatch) begin(c *conn, cmd *command) (began time.Duration) {
	switch {
	case !w.running:
		w.running, w.began = true, time.Since(c.srv.started)
	case w.cmd != cmd || !cmd.short:
		w.settle(c, nil)
	}
	w.cmd = cmd
	return w.began
}

// end is called after it. Others may have begun and ended in between: EXEC calls them.
func (w *stopwatch) end(c *conn, cmd *command, began time.Duration, args [][]byte) {
	if w.cmd != cmd || !cmd.short {
		w.settle(c, nil)
		w.cmd, w.began = cmd, began
	}
	w.calls++
	if w.calls >= runLength || !cmd.short || !w.running || c.srv.slow.exact() {
		w.settle(c, args)
	}
}

// stop is called before the connection waits for something.
func (w *stopwatch) stop(c *conn) {
	w.settle(c, nil)
	w.running = false
}

// settle counts what has run. args are those of the last command, or nil.
func (w *stopwatch) settle(c *conn, args [][]byte) {
	if w.calls == 0 {
		return
	}
	now := time.Since(c.srv.started)
	took := now - w.began
	w.cmd.stats.calls.Add(w.calls)
	w.cmd.stats.nanos.Add(int64(took))
	if args != nil && c.srv.slow.takes(took) && w.cmd.flags&flagSkipSlowlog == 0 {
		c.srv.slow.add(c, w.cmd, args, took)
	}
	w.began, w.calls = now, 0
}
