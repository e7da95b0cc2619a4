package ltm

import "faultline/cmd/kvbench/internal/keys"

// A history is all steps that have written to a store since it was loaded.
type history []writes

// A writes is what the clients of one step did: client t of T has the keys
// t, t+T, t+2T and so on, and draws from them.
type writes struct {
	Seed uint64   `json:"seed"`
	Done []uint64 `json:"done"` // for each client, how many writes
}

// sum is how many writes there are.
func (w *writes) sum() (n uint64) {
	for _, done := range w.Done {
		n += done
	}
	return n
}

func (h history) sum() (n uint64) {
	for i := range h {
		n += h[i].sum()
	}
	return n
}

// A writer draws the keys that one client writes.
type writer struct {
	client, clients uint64
	draw            keys.Draw
}

// newWriter returns the writer of a client; n is the number of all keys, at
// least one a client.
func newWriter(n, seed uint64, client, clients int) writer {
	t, all := uint64(client), uint64(clients)
	own := (n - t + all - 1) / all
	return writer{t, all, keys.NewDraw(own, seed+keys.Mix(t))}
}

// key returns the key of a write, counted from 0.
func (w *writer) key(count uint64) uint64 { return w.draw.Nth(count)*w.clients + w.client }
