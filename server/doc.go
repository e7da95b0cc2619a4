// Package server speaks RESP2 and RESP3 over a store. It knows commands and connections;
// package resp knows the bytes.
//
// # One pipeline
//
// A connection is one goroutine. It executes the commands that have arrived,
// collects their replies, and sends them when no whole command is left or when
// they fill their buffer:
//
//	client              connection                    store
//	  |-- SET a 1 ---------->|-- Apply(Deferred) -------->|  A  for each command:
//	  |-- SET b 2 ---------->|-- Apply(Deferred) -------->|     visible, not durable;
//	  |-- GET c ------------>|-- AppendGet -------------->|     the reply waits
//	  |                      |-- WaitDurable(newest) ---->|  B  once
//	  |<-- +OK +OK $1 x -----|                            |  C
//
// The store commits in groups, so one sync at B serves the whole pipeline and
// every connection that waits at that moment.
//
// # What a reply promises
//
//	appendfsync  B                            a write that was answered survives
//	always       WaitDurable                  a power cut
//	everysec     WaitWritten, and once a      the end of the process; a power cut takes
//	             second WaitDurable for all   the last second or two
//	no           WaitWritten                  the end of the process, not of the machine
//
// They wait for the LSN of the connection's last write. Replies to reads wait too,
// for all that they can have seen (SeenLSN), so that a crash does not take back
// what a client was shown. That costs nothing while nobody writes.
//
// When B fails, none of the replies that wait is sent: each may rest on a write
// that is now in doubt, and a client counts replies, so leaving out some would
// shift the rest. The client gets one error line and the end of the connection.
// To it, every command that it has no reply for is in doubt, as after a crash. A write
// that the store refuses is not in doubt, so its error is sent before the next command
// is executed: what is in doubt at the end was made up to some command, and not after.
//
// When the store has stopped itself (store.ErrStopped) writes answer -MISCONF
// and the cause. Reads go on, from memory, and no longer wait at B, because
// nothing will become durable any more: they may show writes that were never
// acknowledged and that a restart takes back. A write for which the disk has no room
// (store.ErrNoSpace) answers -MISCONF too; the next may be taken.
//
// # Commands
//
// The table (command.go) has a line for each command, beside its handler. A handler reads
// through view, and writes in one of two ways:
//
//	SET MSET DEL ...     blind, changed, apply    a batch; nothing is read
//	INCR SET NX ...      modify                   a transaction of the store, which may
//	                                              run more than once: its replies of
//	                                              before are cut off each time
//
// In EXEC both, and view, are the one transaction of all commands (multi.go). What has
// been written is told to those who WATCH and to those who cache, after it is visible
// and before the reply is sent (committed).
//
// # What others tell a connection
//
// Only its own goroutine reads and writes a connection. Another that has something for it
// leaves that where the goroutine finds it, and kicks: the read that it waits in fails by
// its deadline, it looks what there is, and reads on.
//
//	a key that it caches was written    inbox.go     a message
//	it is to give its buffers back      janitor.go   smaller ones
//	Shutdown                            server.go    the end, when all is answered
//
// # What a client can cost
//
//	before the password   10 arguments of 16 KiB, 10 s, half of all connections
//	input                 one command, of CommandBytes; the buffer grows with what comes
//	output                flushBytes and one reply; WriteTimeout for each piece of it
//	messages              inboxBytes; then one that says all
//	tracked keys          tracking-table-max-keys; then some are told to be invalid
//	all connections       ClientMemory; then the largest is ended (memory.go)
//	an idle one           100 bytes of buffers after a few seconds
//
// # The end of a connection
//
// QUIT, a protocol error, an error of the socket, a failed B, CLIENT KILL, a limit of
// those above, or Shutdown. A
// panic ends the process, also one that a command set off: it is a bug here or
// in the store, whose memory is then in doubt, while its log is not. The input
// cannot set one off by design: package resp has limits for it, and fuzz tests.
//
// # Locks
//
// Server.mu guards the set of connections, cursors.mu the table of SCAN, watches.mu that
// of WATCH, a trackingShard's its part of the keys that are cached, tracking.bcast the
// prefixes. The inbox's mutex is taken last, also under that of tracking.bcast. Of the
// others none is held while another is taken, nor during a call of the store or a
// socket.
package server
