package server

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// stats are what INFO counts, of the whole server.
type stats struct {
	accepted, refused atomic.Int64 // connections
	denied            atomic.Int64 // by protected mode
	wrongPasswords    atomic.Int64
	expired           atomic.Int64 // keys that were reclaimed

	// Added at each flush.
	commands     atomic.Int64
	hits, misses atomic.Int64 // keys that were read, there or not
	readBytes    atomic.Int64 // of the network
	sentBytes    atomic.Int64

	commandRate, readRate, sendRate rate

	peakBytes atomic.Int64 // the most memory of the store that was seen
}

// A rate is how much something has grown in the last second.
type rate struct {
	perSecond atomic.Int64
	sampled   int64 // at its end
}

// sample is called each second, by one goroutine.
func (r *rate) sample(now int64) {
	r.perSecond.Store(max(now-r.sampled, 0))
	r.sampled = now
}

// A tally is what a connection has counted since the last flush.
type tally struct{ commands, hits, misses, readBytes int64 }

// add takes over what a connection has counted.
func (s *stats) add(t *tally, sentBytes int) {
	s.commands.Add(t.commands)
	s.sentBytes.Add(int64(sentBytes))
	s.readBytes.Add(t.readBytes)
	if t.hits > 0 {
		s.hits.Add(t.hits)
	}
	if t.misses > 0 {
		s.misses.Add(t.misses)
	}
	*t = tally{}
}

// sample is called each second, by one goroutine.
func (s *stats) sample() {
	s.commandRate.sample(s.commands.Load())
	s.readRate.sample(s.readBytes.Load())
	s.sendRate.sample(s.sentBytes.Load())
}

// used notes how much memory the store uses, and returns the most that it has used when
// somebody looked.
func (s *stats) used(bytes int64) (peak int64) {
	for {
		peak = s.peakBytes.Load()
		if bytes <= peak || s.peakBytes.CompareAndSwap(peak, bytes) {
			return max(peak, bytes)
		}
	}
}

func (s *stats) reset() {
	for _, n := range []*atomic.Int64{&s.accepted, &s.refused, &s.denied, &s.wrongPasswords, &s.commands, &s.hits, &s.misses, &s.readBytes, &s.sentBytes, &s.expired} {
		n.Store(0)
	}
}

// resetStats sets to zero what INFO counts.
func (s *Server) resetStats() {
	s.stats.reset()
	s.errors.reset()
	for _, cmd := range s.commands.all {
		cmd.stats.reset()
	}
}

// errorCounts counts error replies by their code, the first word.
type errorCounts struct {
	mu sync.Mutex
	n  map[string]int64
}

// note counts the error that reply begins with.
func (e *errorCounts) note(reply []byte) {
	code, _, _ := bytes.Cut(reply[1:], []byte{' '})
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.n == nil {
		e.n = make(map[string]int64)
	}
	e.n[string(code)]++ // codes are ours, so they are few
}

func (e *errorCounts) total() (n int64) {
	e.each(func(_ string, of int64) { n += of })
	return n
}

// each visits the codes in order.
func (e *errorCounts) each(visit func(code string, n int64)) {
	e.mu.Lock()
	n := maps.Clone(e.n)
	e.mu.Unlock()
	for _, code := range slices.SortedFunc(maps.Keys(n), cmp.Compare[string]) {
		visit(code, n[code])
	}
}

func (e *errorCounts) reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n = nil
}

// newRunID returns 40 random hex digits, by which tools tell one run of the server from
// the next.
func newRunID() string {
	var id [20]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// port returns the TCP port of some listener, 0 if there is none.
func (s *Server) port() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.mu.listeners {
		if tcp, ok := l.Addr().(*net.TCPAddr); ok {
			return tcp.Port
		}
	}
	return 0
}

// machineBytes is how much memory the machine has, 0 where nobody says.
func machineBytes() (n int64) {
	text, _ := os.ReadFile("/proc/meminfo")
	fmt.Sscanf(string(text), "MemTotal: %d kB", &n)
	return n << 10
}

// residentBytes is how much memory the process has, as the kernel says; 0 where it does
// not.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
