// Package bench measures key-value stores with the workloads of LevelDB's db_bench
// and of YCSB, so that engines can be compared in one run.
//
// # One run
//
//	for each repetition                        drift of the machine is spread
//	    for each workload                      over all workloads,
//	        for each engine, order turned      and over all engines
//	            open a store, read it once     one store is open at a time
//	            syncfs, runtime.GC
//	            the clients run                not timed, where keys are drawn
//	            the clients run                timed
//	            settle                         writes only, measured apart
//	            scan, close                    every write must be there
//	    for each engine
//	        open, close                        three times
//	        a child writes, SIGKILL, open      three times
//
// # Stores
//
// The fill workloads start on an empty store that is removed after them. The
// others run on a store loaded with all n keys, in random order, in batches,
// then settled: no work is left over for the background. There are two of them, for
// db_bench's keys and for YCSB's. They are made once and never changed: a workload that
// writes has a copy. A store that is in another process cannot be copied, and
// is loaded again.
//
// # Latency
//
// A client reads the clock once after each operation: the end of one is the
// start of the next, so a sample holds making the key, the operation and one
// clock read, for every engine alike. Operations that cost not much more than a
// clock read are sampled, at gaps of random length. At a rate the start is the time at
// which the operation was due.
//
// What is known of the store between the clients of a workload is in numbers that
// are drawn from seeds, so each does the same to every engine; verify then knows what
// the store must hold.
package bench
