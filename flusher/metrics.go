package flusher

import (
	"sync/atomic"
	"time"
)

type metrics struct {
	rounds, pages, writes             atomic.Uint64
	paced, roundTime, pause, pauseMax atomic.Int64
	recovered                         int
}

func (m *metrics) roundDone(pages int, took time.Duration) {
	m.rounds.Add(1)
	m.pages.Add(uint64(pages))
	m.roundTime.Store(int64(took))
}

func (m *metrics) frozen(took time.Duration) {
	m.pause.Store(int64(took))
	m.pauseMax.Store(max(m.pauseMax.Load(), int64(took))) // one flusher
}

// Metrics counts what a Flusher has done since Open.
type Metrics struct {
	Rounds       uint64        // flush rounds in the data file
	PagesWritten uint64        // images of all rounds; each went to the journal too
	ValuePages   uint64        // pages of long values, which no round writes
	Writes       uint64        // calls that wrote them in place
	Recovered    int           // pages that Open wrote again from the journal
	LastRound    time.Duration // length of the last round
	LastPause    time.Duration // how long its cut kept the gate closed
	MaxPause     time.Duration // the longest that a cut did, or a part of a freeze ahead of one
	Paced        time.Duration // time that writers were slowed down, summed up
	CreditsFree  int64         // pages that may still become dirty; negative: overdrawn
	CreditsTotal int64
	Room         int64 // pages that the data file has room for
}

// Metrics returns the counts. They are read one by one.
func (f *Flusher) Metrics() Metrics {
	m := &f.metrics
	return Metrics{
		Rounds:       m.rounds.Load(),
		PagesWritten: m.pages.Load(),
		ValuePages:   f.values.written.Load(),
		Writes:       m.writes.Load(),
		Recovered:    m.recovered,
		LastRound:    time.Duration(m.roundTime.Load()),
		LastPause:    time.Duration(m.pause.Load()),
		MaxPause:     time.Duration(m.pauseMax.Load()),
		Paced:        time.Duration(m.paced.Load()),
		CreditsFree:  f.credits.free(),
		CreditsTotal: int64(f.Credits()),
		Room:         f.room.pages.Load(),
	}
}
