package server

import (
	"testing"
	"time"

	"faultline/store"
)

// TestClockSetBack sets the machine's clock back by an hour: a key that is to live for some
// seconds must live for some seconds, though time does not go back for the store.
func TestClockSetBack(t *testing.T) {
	clock := newTestClock()
	db := openStoreWith(t, &store.Options{MemoryBudget: 64 << 20, Clock: clock.Now})
	_, addr := start(t, db, Options{})
	c := dial(t, addr)
	do(t, c, "SET", "old", "1", "EX", "60")
	do(t, c, "GET", "old") // the store has seen the time
	clock.Add(-time.Hour)
	for _, set := range [][]string{
		{"SET", "lock", "1", "NX", "PX", "5000"},
		{"SETEX", "lock", "5", "1"},
		{"EXPIRE", "lock", "5"},
		{"GETEX", "lock", "EX", "5"},
	} {
		do(t, c, set...)
		if ttl := doInt(t, c, "PTTL", "lock"); ttl != 5000 {
			t.Errorf("%v: the key lives for %d ms", set, ttl)
		}
	}
	if ttl := doInt(t, c, "TTL", "old"); ttl != 60 {
		t.Errorf("an older key lives for %d s", ttl)
	}
	clock.Add(time.Hour + 5*time.Second)
	if n := doInt(t, c, "EXISTS", "lock", "old"); n != 1 {
		t.Errorf("%d keys are left", n)
	}
}
