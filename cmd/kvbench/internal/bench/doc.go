// Package bench measures ordered key-value stores with the workloads of
// LevelDB's db_bench, so that two engines can be compared in one run.
//
// # One run
//
//	for each repetition                        drift of the machine is spread
//	    for each workload                      over all workloads,
//	        for each engine, order turned      and over both engines
//	            open, warm                     one store is open at a time
//	            syncfs, runtime.GC
//	            the clients run                timed
//	            settle                         writes only, timed apart
//	            scan, close                    every write must be there
//
// # Stores
//
// The fill workloads start on an empty store that is removed after them. The
// others run on a store loaded with all n keys, in random order, in batches,
// then settled: no work is left over for the background. A loaded store is
// opened again for each workload and read once from first to last before the
// clock starts, so each engine has the machine's memory to itself and its caches
// are warm. It serves until overwrite has changed it; then it is loaded anew.
//
// # Latency
//
// A client reads the clock once after each operation: the end of one is the
// start of the next, so a sample holds making the key, the operation and one
// clock read, for every engine alike. Only readseq, whose entries cost less than
// a clock read, times one entry in 32 on average.
package bench
