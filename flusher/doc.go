// Package flusher takes dirty pages to the data file, so that a crash at any
// instant leaves files from which Open restores every page whole. It knows pages
// and images, neither the tree in them nor what the log says.
//
// # One round
//
//	writers           pagemeta             flusher                  disk
//	   |                 |<---- freeze -------|  gate closed: all Dirty pages are
//	   |                 |                    |  protected and Frozen, the LSN is
//	   |                 |                    |  noted; gate open
//	   |---- mkwrite --->| Frozen: its image  |
//	   |                 | is captured first  |-- log up to the LSN ---->|  A
//	   |                 |<---- capture ------|-- values, sync --------->|  A'
//	   |                 | Frozen -> Flight   |-- journal, sync -------->|  B
//	   |                 |                    |-- pages in place, sync   |
//	   |                 |                    |   rounds, sync           |
//	   |                 |                    |   page 0, sync --------->|  C
//	   |                 |<---- written ------|                          |
//	   |                 | Flight -> Clean    |-- journal cleared,       |
//	   |                 |                    |   log trimmed ---------->|  D
//
// A comes before B because a whole journal is always applied: its images must
// not hold a change that the log has lost. Were the log behind, new operations
// would get the LSNs of lost ones, and a journal that was torn could become whole
// again with the page 0 of another round of the same number (pagemeta/model). In C
// page 0 comes last, when the other pages are durable: what it says of them holds
// even if the journal is damaged then. Rounds do not overlap.
//
// A' is for pages of long values (value.go), which go to the data file at once. The
// cut may refer to them, and from B on it is what Open restores. When nothing was
// written of values since the file was synced there is no A'.
//
// The cut is consistent because the gate was closed: no operation is half in it.
// Writers wait only for the freeze, whose length is Metrics.LastPause. When many pages
// are Dirty, they are frozen ahead of it, some at a time, with the gate open in between
// (freeze.go): the cut then has to protect only what was changed again. Superblock and
// bitmaps are pages of the cut like any other.
//
// # Crashes
//
//	when               data file    journal   Open
//	before B is done   old cut      torn      ignores the journal, replays the log from the old cut
//	between B and C    mixed        whole     writes every image again, replays from the new cut
//	after C            new cut      whole     the same, to no effect
//	after D            new cut      cleared   replays from the new cut
//
// # Lost traps
//
// Each round asks the kernel, after the freeze, for pages that are writable and
// not Dirty: one scan of the page tables. There are none as long as the kernel
// protects what it was told to protect. Were there one, the Flusher would stop
// before it trims the log, which has all that was stored since the audit before.
//
// # Lost writes
//
// A page says which round wrote it, and the file rounds says which one wrote it
// last; rounds is written with the pages, and page 0 tells whether it is whole
// (rounds.go). A page of another round is reported as corrupt: of a later one it is
// what a damaged journal leaves after a crash in C, of an earlier one it is what a
// disk leaves that has lost a write.
//
// # Errors
//
// After a write or a sync that failed nothing is assumed of the disk, and no
// second try is made: the kernel may have dropped the pages, and would say that
// all is well. The Flusher stops; reads go on.
//
// # Credits
//
// The memory of dirty pages is bounded by credits, one a page, which an operation
// reserves in Begin, before it enters the gate. Half of them used starts a round;
// less than a quarter left slows writers down, the more the less there is.
//
// # Locks
//
// See package pagemeta. The gate comes first of all; Begin waits for credits
// before it, never inside. inPlace is for step C and for who reads data and rounds
// as one round left them (Scrub): no operation waits for it, and who holds it takes
// no other lock.
package flusher
