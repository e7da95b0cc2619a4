package blockrec

import (
	"io"
	"net/rpc"
)

// A Client is how another process uses a Server.
type Client struct{ calls *rpc.Client }

// NewClient returns a client of the Serve at the other end of conn.
func NewClient(conn io.ReadWriteCloser) *Client { return &Client{rpc.NewClient(conn)} }

// Close closes conn, which ends Serve.
func (c *Client) Close() error { return c.calls.Close() }

// Mark makes a Mark, as a write to the file MarksName does.
func (c *Client) Mark(text string) error {
	return c.calls.Call("Disk.Mark", text, &struct{}{})
}

// Log returns what was done to the disk up to now, or before the first Show. Like
// the calls below it waits until nobody has the disk open, 10 s at most.
func (c *Client) Log() (ops []Op, err error) {
	err = c.calls.Call("Disk.Ops", false, &ops)
	return ops, err
}

// Show makes the disk what a power cut has left of its log, which grows no more.
// States are shown fast in the order of the log.
func (c *Client) Show(s State) error {
	return c.calls.Call("Disk.Show", s, &struct{}{})
}

// Recovery returns what was done to the disk since Show.
func (c *Client) Recovery() (ops []Op, err error) {
	err = c.calls.Call("Disk.Ops", true, &ops)
	return ops, err
}

// ShowAgain makes the disk what a second power cut has left of what was done
// since Show. What is done to the disk after that is not in Recovery.
func (c *Client) ShowAgain(s State) error {
	return c.calls.Call("Disk.ShowAgain", s, &struct{}{})
}
