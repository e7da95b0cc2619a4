package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
)

// The network block device protocol, as far as qemu needs it: the handshake that
// is called fixed newstyle, with the one option that every server must have, and
// simple replies. All numbers are big-endian
// (github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md).
const (
	nbdMagic    = "NBDMAGIC"
	optionMagic = "IHAVEOPT"

	nbdFixedNewstyle = 1 << 0
	nbdNoZeroes      = 1 << 1

	optionExportName = 1
	optionReplyMagic = 0x3e889045565a9
	optionUnknown    = 1<<31 | 1

	exportHasFlags  = 1 << 0
	exportSendFlush = 1 << 2

	requestMagic = 0x25609513
	replyMagic   = 0x67446698

	commandRead       = 0
	commandWrite      = 1
	commandDisconnect = 2
	commandFlush      = 3

	errorInvalid = 22
)

// requestBytes is the size of a request without its data:
//
//	0        4        6         8         16       24        28
//	+--------+--------+---------+---------+--------+---------+
//	| magic  | flags  | command | cookie  | offset | length  |
//	+--------+--------+---------+---------+--------+---------+
const requestBytes = 28

type request struct {
	command uint16
	cookie  uint64
	at      int64
	length  int
	data    []byte // of a write
}

// serve lets the other end of the connection use d, and returns when it has gone.
func (d *Disk) serve(conn net.Conn) error {
	if err := d.shake(conn); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	requests := make(chan request, 64)
	ended := make(chan error, 1)
	go func() {
		defer close(requests)
		for {
			r, err := readRequest(conn)
			if err != nil {
				ended <- err
				return
			}
			requests <- r
		}
	}()
	d.answer(conn, requests)
	if err := <-ended; !slices.ContainsFunc(endings, func(e error) bool { return errors.Is(err, e) }) {
		return err
	}
	return nil
}

// endings are how a connection looks when the process at its other end is killed.
var endings = []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET}

// shake agrees with the client on the export. It knows no option but the name,
// and every name is right.
func (d *Disk) shake(conn net.Conn) error {
	hello := binary.BigEndian.AppendUint16([]byte(nbdMagic+optionMagic), nbdFixedNewstyle|nbdNoZeroes)
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(conn, flags[:]); err != nil {
		return err
	}
	for {
		option, err := readOption(conn)
		if err != nil {
			return err
		}
		if option == optionExportName {
			break
		}
		refusal := binary.BigEndian.AppendUint64(nil, optionReplyMagic)
		refusal = binary.BigEndian.AppendUint32(refusal, option)
		refusal = binary.BigEndian.AppendUint32(refusal, optionUnknown)
		refusal = binary.BigEndian.AppendUint32(refusal, 0) // length of a text
		if _, err := conn.Write(refusal); err != nil {
			return err
		}
	}
	export := binary.BigEndian.AppendUint64(nil, uint64(len(d.medium)))
	export = binary.BigEndian.AppendUint16(export, exportHasFlags|exportSendFlush)
	if binary.BigEndian.Uint32(flags[:])&nbdNoZeroes == 0 {
		export = append(export, make([]byte, 124)...)
	}
	_, err := conn.Write(export)
	return err
}

// readOption reads an option with its data, and returns its number.
func readOption(r io.Reader) (uint32, error) {
	var head [16]byte // magic, option, length
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, err
	}
	if string(head[:8]) != optionMagic {
		return 0, fmt.Errorf("option begins with %q", head[:8])
	}
	_, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(head[12:])))
	return binary.BigEndian.Uint32(head[8:]), err
}

func readRequest(r io.Reader) (request, error) {
	var head [requestBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return request{}, err
	}
	if magic := binary.BigEndian.Uint32(head[:]); magic != requestMagic {
		return request{}, fmt.Errorf("request begins with %#x", magic)
	}
	q := request{
		command: binary.BigEndian.Uint16(head[6:]),
		cookie:  binary.BigEndian.Uint64(head[8:]),
		at:      int64(binary.BigEndian.Uint64(head[16:])),
		length:  int(binary.BigEndian.Uint32(head[24:])),
	}
	if q.command != commandWrite {
		return q, nil
	}
	q.data = make([]byte, q.length)
	_, err := io.ReadFull(r, q.data)
	return q, err
}

// answer does what is asked, to the end of the requests. A write is acknowledged
// only when no other request waits: so a flush that was sent while the write was on
// its way comes before it is acknowledged, and leaves it in the cache.
func (d *Disk) answer(conn net.Conn, requests <-chan request) {
	var writes []byte // replies to them
	for {
		var q request
		var ok bool
		select {
		case q, ok = <-requests:
		default:
			if len(writes) > 0 && d.acknowledge() {
				send(conn, writes)
			}
			writes = nil
			q, ok = <-requests
		}
		if !ok || q.command == commandDisconnect {
			break
		}
		switch reply := d.do(q); q.command {
		case commandWrite:
			writes = append(writes, reply...)
		default:
			send(conn, reply)
		}
	}
	for range requests { // none, after a disconnect
	}
}

// send writes to a client that may have ended: then it will not miss the reply,
// and its requests come to their end too.
func send(conn net.Conn, reply []byte) { _, _ = conn.Write(reply) }

// do carries out one request and returns the reply, if there is one.
func (d *Disk) do(q request) []byte {
	if q.at < 0 || q.at+int64(q.length) > int64(len(d.medium)) || q.command > commandFlush {
		return replyTo(q, errorInvalid)
	}
	answers := true
	reply := replyTo(q, 0)
	switch q.command {
	case commandRead:
		head := len(reply)
		reply = append(reply, make([]byte, q.length)...)
		answers = d.read(reply[head:], q.at)
	case commandWrite:
		d.write(q.data, q.at)
	case commandFlush:
		answers = d.flush()
	}
	if !answers {
		return nil
	}
	return reply
}

// replyTo returns the head of a reply: magic, error, cookie.
func replyTo(q request, errno uint32) []byte {
	reply := binary.BigEndian.AppendUint32(nil, replyMagic)
	reply = binary.BigEndian.AppendUint32(reply, errno)
	return binary.BigEndian.AppendUint64(reply, q.cookie)
}
