// Package wal is the log of the store: it takes records, makes them durable, and
// gives them back after a crash, in order and without a gap. It knows bytes and
// LSNs, and nothing of keys or pages.
//
// # The log
//
// The log is one endless run of bytes, and an LSN is an offset in it. Segment k
// is the file of the bytes from k*S on, %016x.log of k; it has no header, and
// records run across its borders. record.go draws a record.
//
//	trimmed             durable            written           appended
//	   |                   |                  |                 |
//	---+----- records -----+-- in the kernel -+--- in memory ---+
//	   |  spares before    |      segments, ready ones behind      |
//
// Append copies a record into a buffer and moves appended. The buffers are a
// mapped file (tailfile.go), so written moves along with it: the record survives
// the process. Where that cannot be, Write moves written up to it with pwrite.
// Sync puts the buffer into the segments and moves durable up to there with
// fdatasync, so that the records survive the power.
//
//	Open -> Replay -> Append, Write, Sync, Trim ... -> Close
//
// # What is relied on
//
// What package disk says of Sync and SyncDir. A sector of 512 bytes that is
// being written when the power fails holds the old bytes or the new ones, not a
// mixture: the next group writes the sector again in which the durable one
// ends. Nothing else is: sectors of an unsynced write reach the disk in any
// order, or not.
//
// # Marks
//
// After a crash the first bytes that are no record may be the torn end of what
// was never synced, or damage to what was. The bytes themselves do not tell. So
// the log says it: a group that is written after a sync has a mark at its end,
// which is a record with the LSN D that the sync made durable. There is no mark
// without other records, and none without news, so an idle log stays idle.
//
// Replay stops at the first position x where there is no valid record, and looks
// at every 8-byte word behind it, to the end of the last segment, for a mark
// (its lsn field says where it lies, the crc holds).
//
//	          x           mark D
//	-- valid -#?---------|------|--
//
//	a mark with D > x     x was durable, and is damaged: CorruptError
//	no such mark          x was not known to be durable: the log is cut at x
//
// The marks in the tail file (tailfile.go) count like those behind x. Valid
// batches behind x mean nothing, for an unsynced tail is reordered. The
// rule is exact but for the last group: damage to what was synced last, behind
// which nothing was ever written, looks like a torn tail and is cut. A missing
// segment between others is corruption too, and so is one of the wrong length:
// segments get their names whole and in order, and lose them from the end.
//
// # The cut
//
// The bytes from x to the end of its segment are zeroed, the segments behind it
// are removed, and both is synced before Append is possible. Otherwise:
//
//	crash 1     A ## C           C is valid, the record before it is lost
//	cut, no 0   A .  C           the log ends after A
//	append B    A B  C           B happens to end where C begins
//	crash 2     A B  C           C is back, though it was cut: a later log
//	                             without it may have been read, and acted on
//
// Bytes of a recycled segment cannot come back so: their lsn fields are those of
// the place where they once were.
//
// # Crashes
//
//	when                           on disk                   the next Replay
//	after Append, process killed   all, in the tail file     moves it to the segments
//	after Write, process killed    all (in the kernel)       syncs, then hands out
//	after Write, power lost        any sectors of it         cuts at the first gap
//	during Sync                    any sectors of the group  hands out a prefix of it
//	after Sync                     all                       hands out all
//	making a segment               NAME.tmp                  Open removes it
//	renamed, not yet SyncDir       old or new name           a spare, or an empty end
//	after that SyncDir             new name, no record yet   an empty end
//	Trim                           any of the trimmed names  takes them for spares
//	during the cut                 part zeroed, removed      finds the same x, cuts again
//
// Replay syncs each segment before it hands out what is in it: a checkpoint that
// the caller makes of these records must not be ahead of the log. It reads the
// segment from the disk then, not from the cache, which after a sync that failed
// has records that the disk has not.
//
// # Segments
//
// A new segment is made under a temporary name, written with zeros, synced,
// renamed, and the directory synced, all before the first record goes into it:
// an fdatasync then has no metadata to write. A trimmed segment is used again by
// a rename. The helper, the only goroutine of a Log, does this ahead of the
// writer; a writer that is faster does it itself.
//
// # Group commit
//
// There is no thread that writes. Who calls Sync first leads: it writes, syncs,
// wakes all whose LSN is durable now, and makes one of the others the next
// leader. Those who come during a sync are the next group. A lone commit is one
// pwrite and one fdatasync in the goroutine that commits, and wakes nobody.
//
// Invariants:
//
//  1. durable <= written <= appended, and none goes back.
//  2. Everything below durable survives a power cut, below written a kill.
//  3. If somebody waits, somebody leads or has been told to.
//  4. After an error of a write or a sync none of the three moves again, and no
//     sync is tried again: the kernel may have dropped the pages.
//
// Writing and syncing are two roles with a lock each, so that Write never waits
// for an fdatasync. There are two buffers: while one is put into the segments,
// Append fills the other.
//
// What was tried (2 processors, fdatasync of 60 to 150 us, records of 144 bytes,
// 16 and 64 goroutines, medians, in us a commit):
//
//	                                             16      64   records a group
//	sync.Cond, broadcast, first to come leads    9.7     2.8      8, 31
//	a channel each, next leader woken first     10.2     3.0      8, 31
//	the same, next leader woken last            10.8     3.0      8, 31
//	the leader syncs once more for those left    8.2     2.7      8, 32
//	next leader woken first, yields once         6.8     2.5     11, 41   <- this
//	the same, yields until nothing is added      6.6     2.9     12, 57
//
// To hand the P on before the fdatasync, and RWF_DSYNC and O_DIRECT instead of it, gained
// nothing or little (docs/bench.md, Writes).
//
// A yield is dear when processors are short: with four goroutines that compute
// it made commits ten times slower (1500 us against 150), since each may run for
// 10 ms. Hence yielder, which gives up yielding after one that was long.
//
// # Lock order
//
// Outermost first; a goroutine takes locks only downwards.
//
//	Log.sync                    who syncs
//	    Log.out                 who writes
//	        Log.in              appenders: short
//	        segments.making     files made, renamed, removed: long
//	            segments.mu     table of open files: short
//	        helper
//	Log.group                   who waits: short, takes no other
package wal
