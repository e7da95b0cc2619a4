// Package tree is a B+tree over the pages of a table. It knows keys and pages,
// neither files nor the log: commit and recovery call the same functions.
//
//	node.go    what a node is, byte by byte; search, put and remove in place
//	build.go   nodes taken apart and laid out anew
//	tree.go    get, put, delete; finger.go
//	putmany.go writes.go   many writes at once, leaf by leaf
//	change.go  how several pages change at once
//	split.go   merge.go   the two structure changes; append.go
//	value.go   where a long value is
//	long.go    put and delete of long values
//	deleterange.go   dropleaves.go   delete of many keys at once
//	space.go   which pages are in use
//	extent.go  pages for long values; pageset.go
//	cursor.go  walks
//	check.go   the tree compared with itself
//
// # Concurrency
//
// Readers take no lock. They go from node to node by versions (pagemeta's
// latches): a node is read between two looks at its version, and left only after
// the version of its child is known and its own is still the same. What they
// copied out of a leaf counts only if the leaf's version is unchanged after.
//
// A write that fits its leaf latches only that leaf. Splits and merges exclude
// each other by one mutex, so that inner nodes stand still while one is planned;
// they are computed beside the tree and copied in at once. Keys are locked by
// the caller: for one key there is one writer at a time.
//
// Tried and not taken: latching downwards from the root, which makes every
// reader write to the root's cache line.
package tree
