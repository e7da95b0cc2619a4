// Package store is a persistent, ordered key-value store. Its pages live in
// memory, and the MMU tells which of them change: see package pagemeta.
//
//	db, err := store.Open("data", nil)
//	err = db.Put([]byte("key"), []byte("value"), store.Sync)
//	value, err := db.Get([]byte("key"))
//	for item, err := range db.Range([]byte("a"), []byte("b")) { ... }
//	err = db.Close()
//
// # A write
//
//	1  check sizes and the store's state
//	2  reserve credits for the pages it may make dirty    may wait, or fail
//	3  enter the gate                                     excludes only a freeze
//	4  lock the keys, in order                            order of log = order of tree
//	   compare what a Modify has read with what is there
//	5  change the tree, page by page, in two phases
//	6  append to the log in memory; this gives the LSN
//	7  unlock the keys, leave the gate, give back credits
//	8  wait until the log is as durable as asked for
//
// Nothing waits inside the gate but for a page to be read. Up to the first change
// in step 5 an error leaves everything as it was: a page that cannot be read, or is
// damaged, is an error of the operations that need it, as often as they try. A batch
// therefore touches all its leaves before it changes the first (reach.go). After the
// first change, and when the log or a flush round meets an error of the disk, the
// store stops (ErrStopped): it reads on, writes no more, and recovers when it is
// opened again.
//
// A write is visible to readers from step 5 on, before it is durable. Who must
// not see what a crash could take back waits for LSN with WaitDurable.
//
// # Keyspaces
//
// A DB is a keyspace, and can have others, each with a name (Keyspace). They share the
// tree, the log and the flush rounds: a key of the tree begins with two bytes that say
// whose it is. So a Batch can write to several, and clearing one costs the same whatever
// its size: with the gate closed, its keys get another second byte from then on
// (spaces.go). What it had is deleted in the background, whole leaves at a time, and the
// log is not told (sweeper.go).
//
// # Keys that expire
//
// A key can have a time from which on no read finds it (expiry.go). The reaper deletes it
// soon after, by a write like any other, through an index of such times (reaper.go). The
// log has times, not the passing of time: a recovery finds the same keys with the same
// times, and those that have expired meanwhile are not found.
//
// # What readers see
//
// Readers take no lock. A write of one key is seen whole or not at all. Several that are
// made together, by Apply or Modify, are seen together by who reads keys one after the
// other: once one of them was seen, all are (wide.go). GetAll has values of one moment, for
// which it locks their keys. Iterators are live: they see a write or not, each key by
// itself.
//
// # Modify
//
//	1  claim the keys that are named     others that name them wait
//	2  call the function                 reads are noted, writes are kept in a batch
//	3  write the batch, as above to 7    but if a read is not true any more: from 2 on
//	4  give up the claims
//	5  wait, as above in 8
//
// Nothing is locked for the store while the function runs but the claims, which only calls
// of Modify take. A blind write to what it has read makes it run again. So does one by a
// Modify that has not named the key; from then on all keys that the function has touched
// are claimed.
//
// The locks, outermost first: that of who makes, clears or drops a keyspace; claims, in
// order; places of long values; the gate; stripes
// of keys, in order; those of the packages below. Readers of GetAll take stripes without
// the gate, and nothing but a page to be read is waited for under them.
//
// # What a crash leaves
//
// The data file holds a cut: all writes up to some LSN and none above. Open
// repairs it from the journal if a crash came while it was written, then replays
// the log from that LSN, a window of it at a time (replay.go): writes to one key in their
// order, others in the order of their leaves. A round in the middle of a window says that
// the log is replayed up to where that begins. A log that ends torn is cut off there; see
// package wal for how that is told from damage.
//
// # Files
//
//	LOCK      held while the store is open; the pid of who has it
//	data      pages: page n is bytes 4096*n on; page 0 is the superblock
//	journal   the images of the last flush round
//	rounds    of each page of data, which round wrote it
//	wal/      the log
//
// docs/format.md has every byte of them.
package store
