//go:build race

package store

// raceEnabled: allocations cannot be counted, since sync.Pool drops at random what
// it is given; and all takes ten times as long.
const raceEnabled = true
