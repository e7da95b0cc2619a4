// Package sysfault runs a program as it is, and decides about each of its system
// calls on files and on userfaultfd: it runs, fails, is made by half, is only
// said to have been made, or the program is killed instead. It is for tests.
//
// It is seccomp's user notification (seccomp_unotify(2)):
//
//	caller of Start          Shim, the same binary       the program
//	      |-- fork, exec ----------->|                        |
//	      |                          | install the filter     |
//	      |<-- listener, by socket --|                        |
//	      |                          |-- exec --------------->|
//	      |<------------------------------- call, stopped ----|
//	      | decide                                            |
//	      |-------------------------------- answer ---------->|
//
// The filter outlives the exec, and holds for every thread that the program
// starts. One goroutine serves all of them, so that calls are counted over the
// whole process and not by thread. Calls that are not on a file (sockets share
// write(2)) are shown too: a Call has the path of its file, and decide looks.
//
// What it cannot do: an answer to a page fault. A store to a mapped file is no
// call.
package sysfault
