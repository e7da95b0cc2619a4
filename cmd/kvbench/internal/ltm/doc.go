// Package ltm measures stores that are larger than their memory, and checks them
// afterwards, key by key.
//
// # One run
//
//	for each repetition
//	    load                          for each engine: a store of all keys
//	    for each workload
//	        for each engine           order turned from one repetition to the next
//	            evict                 no page of the store's files is cached
//	            child, in a cgroup    open, clients warm up, are timed; settle, close
//	    check                         for each engine: every key, exact content
//	    kill                          a child that writes gets SIGKILL
//	    check                         every key again, and what was lost
//
// A child is kvbench itself, started again: it gets a Spec on standard input and
// answers with a Result on standard output. It has a memory cgroup of its own,
// which counts the page cache too and which begins empty. Its clients count what
// was acknowledged in memory that the parent shares, so that it is known also of
// a child that was killed.
//
// # What is written, and how it is checked
//
// A value names its write, and follows from it: see content. Each client that
// writes has keys of its own, so which write of a key came last is known without
// a word between them. A history of some numbers (seeds, clients, counts) is thus
// enough to say what the store must hold: see history and checker.
package ltm
