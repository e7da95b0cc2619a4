// Package resp reads commands and writes replies in RESP2 and RESP3, the
// protocols of Redis. It knows bytes and limits, and nothing of what a command means.
//
// # Reading
//
// A command is an array of bulk strings, or a line:
//
//	*2\r\n $3\r\n GET\r\n $1\r\n a\r\n        GET "a"\r\n
//	|      |      |
//	|      |      the bytes, then CRLF
//	|      length of the first argument
//	number of arguments
//
// A Reader has one buffer. Fill reads from the connection once; Next returns
// the commands that are in the buffer, one by one, and nil once what is left is
// only a part of one. Its caller therefore knows when a pipeline has ended, and
// flushes there:
//
//	          Next: a command
//	         +--------------+
//	         |              v
//	Fill -> parse        execute
//	  ^      |              |
//	  |      | Next: nil    |
//	  |      v              |
//	  +--- flush <----------+ replies fill their buffer
//
// What holds for any input, also a hostile one:
//
//  1. A length that was declared allocates nothing. The buffer grows to twice
//     its size at most, and only when bytes that have arrived fill it. A Meter
//     can refuse that.
//  2. A byte is looked at a constant number of times, however the input is cut
//     into packets: what was parsed of a partial command is kept.
//  3. A limit is checked on the length as declared, before the bytes come; only
//     the size of a whole command is checked as it grows.
//  4. After an error there is no next command: the stream is out of step.
//
// # Writing
//
// A Writer appends replies to a buffer; to send it, and when, is the caller's.
package resp
