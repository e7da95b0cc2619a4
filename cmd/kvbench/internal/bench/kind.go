package bench

import (
	"fmt"
	"math"
)

// A kind is what the name of a workload stands for.
type kind struct {
	name    string
	fresh   bool // starts on an empty store, else on a loaded one
	hashed  bool // YCSB's keys: their order has nothing to do with that of the numbers
	writes  bool
	deletes bool
	misses  bool                             // it looks for keys that are not there
	sync    bool                             // even where the run is not
	draws   bool                             // it may go on for as long as one likes, also before the clock starts
	paced   bool                             // its operations may be begun at a rate
	every   int                              // of how many operations one is timed, on average; 0 = each
	parts   []part                           // the kinds of operations; several where they differ
	ops     func(c *Config, threads int) int // of all clients together
	per     func(c *Config) int              // operations that a call of the store does, nil = 1
	run     func(*client) error
	beside  func(*client) error // what one more client does until the others end, or nil

	insertPercent int // of its operations: they add records
}

// A part is a kind of operation.
type part struct {
	name   string
	writes bool
}

// Of how many cheap operations one is timed: reading the clock takes as long as a
// tenth of a read, and as a whole step of a scan.
const (
	everyGet  = 8
	everyStep = 32
)

// What an operation of readwhilewriting is.
const (
	partRead = iota
	partWrite
)

var readAndWrite = []part{partRead: {name: "read"}, partWrite: {name: "write", writes: true}}

var kinds = []kind{
	{name: "fillseq", fresh: true, writes: true, paced: true, ops: opsN, run: fillSeq},
	{name: "fillrandom", fresh: true, writes: true, paced: true, ops: opsN, run: fillRandom},
	{name: "fillbatch", fresh: true, writes: true, paced: true, ops: opsBatch, per: perBatch, run: fillBatch},
	{name: "fillsync", fresh: true, writes: true, sync: true, paced: true, ops: opsSync, run: fillRandom},
	{name: "overwrite", writes: true, draws: true, paced: true, ops: opsN, run: overwrite},
	{name: "readrandom", draws: true, paced: true, every: everyGet, ops: opsN, run: readRandom},
	{name: "readzipf", draws: true, paced: true, every: everyGet, ops: opsN, run: readZipf},
	{name: "readmissing", misses: true, draws: true, paced: true, every: everyGet, ops: opsN, run: readMissing},
	{name: "readseq", draws: true, every: everyStep, ops: opsEach, run: readSeq},
	{name: "readreverse", draws: true, every: everyStep, ops: opsEach, run: readReverse},
	{name: "seekrandom", draws: true, paced: true, ops: opsSeek, run: seekRandom},
	{name: "readwhilewriting", writes: true, draws: true, paced: true, parts: readAndWrite, ops: opsN, run: readRandom, beside: overwriteAlong},
	{name: "deleterandom", writes: true, deletes: true, paced: true, ops: opsN, run: deleteRandom},
	{name: "ycsbload", fresh: true, hashed: true, writes: true, paced: true, ops: opsN, run: loadRecords},
	ycsb("ycsba", opsN, Zipfian, share{read, 50}, share{update, 50}),
	ycsb("ycsbb", opsN, Zipfian, share{read, 95}, share{update, 5}),
	ycsb("ycsbc", opsN, Zipfian, share{read, 100}),
	ycsb("ycsbd", opsN, Latest, share{read, 95}, share{insert, 5}),
	ycsb("ycsbe", opsSeek, Zipfian, share{scan, 95}, share{insert, 5}),
	ycsb("ycsbf", opsN, Zipfian, share{read, 50}, share{modify, 50}),
}

// Of how many keys a workload that is slow by nature does one operation, and
// how many it does at least.
const (
	keysPerSync = 100
	keysPerSeek = 10
	minOps      = 1000
)

// opsN: the clients share the n operations.
func opsN(c *Config, _ int) int { return c.N }

// opsEach: each client does n operations.
func opsEach(c *Config, threads int) int { return c.N * threads }

// opsSync: each client does as many as take seconds, since they wait for the
// disk together.
func opsSync(c *Config, threads int) int { return max(c.N/keysPerSync, min(c.N, minOps)) * threads }

func opsSeek(c *Config, _ int) int { return max(c.N/keysPerSeek, min(c.N, minOps)) }

// opsBatch: whole batches.
func opsBatch(c *Config, _ int) int { return max(c.N/c.BatchEntries, 1) * c.BatchEntries }

func perBatch(c *Config) int { return c.BatchEntries }

// kindOf returns what the workload's name stands for.
func kindOf(w Workload) *kind {
	for i := range kinds {
		if kinds[i].name == w.Name {
			return &kinds[i]
		}
	}
	panic(fmt.Sprintf("bench: unknown workload %q", w.Name)) // ParseWorkloads has let it through
}

func opsOf(w Workload, c *Config) int { return kindOf(w).ops(c, w.Threads) }

// endless tells whether w goes on for all of the time that the run gives it.
func endless(w Workload, c *Config) bool { return c.Duration > 0 && kindOf(w).draws }

// callsOf is how many calls of the store all clients make together, at most.
func callsOf(w Workload, c *Config) int {
	if endless(w, c) {
		return math.MaxInt
	}
	return opsOf(w, c) / kindOf(w).perCall(c)
}

func (k *kind) perCall(c *Config) int {
	if k.per == nil {
		return 1
	}
	return k.per(c)
}

// WorkloadNames are the names that ParseWorkloads knows.
func WorkloadNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}
