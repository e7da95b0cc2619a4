package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The log is a run of records, little-endian, each at a multiple of 8:
//
//	0        4        8                 16     17
//	+--------+--------+-----------------+------+---- ... ----+- ... -+
//	| length | crc32c | lsn             | kind | payload     | 0 pad |
//	+--------+--------+-----------------+------+---- ... ----+- ... -+
//
//	length  bytes of payload
//	crc32c  Castagnoli, seeded with the salt, over payload, length, lsn, kind
//	lsn     where the record starts
//	kind    never zero, so that zeros are no record
//
// The payload comes first in the crc, so that Append can compute the long part
// of it before it knows the lsn. The crc of a message is a bijection of the
// seed: a record of a log with another salt never passes. The padding is not in
// the crc; it lies in one 8-byte word, hence in one sector, with bytes that are,
// and is compared with zero.
const (
	lengthAt  = 0
	crcAt     = 4
	lsnAt     = 8
	kindAt    = 16
	payloadAt = 17

	recordAlign = 8

	// MaxPayload is the most bytes in one record: 64 MiB.
	MaxPayload = 64 << 20

	markPayload = 8 // the LSN that is durable
	markBytes   = (payloadAt + markPayload + recordAlign - 1) / recordAlign * recordAlign
)

// A Kind says what a record is for.
type Kind byte

const (
	// KindBatch is a record of the caller: its payload means nothing here.
	KindBatch Kind = 1
	// KindMark is a record of the log: everything below the LSN in its payload
	// was durable before the mark was written.
	KindMark Kind = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordBytes returns how many bytes a record with n bytes of payload takes.
func recordBytes(n int) int {
	return (payloadAt + n + recordAlign - 1) &^ (recordAlign - 1)
}

// payloadCRC is the part of the crc that does not depend on the lsn.
func payloadCRC(salt uint32, payload []byte) uint32 {
	return crc32.Update(salt, castagnoli, payload)
}

// putRecord writes a record into dst, which is recordBytes(len(payload)) long.
// crc is the payloadCRC.
func putRecord(dst []byte, lsn LSN, kind Kind, crc uint32, payload []byte) {
	clear(dst[len(dst)-recordAlign:])
	binary.LittleEndian.PutUint32(dst[lengthAt:], uint32(len(payload)))
	binary.LittleEndian.PutUint64(dst[lsnAt:], uint64(lsn))
	dst[kindAt] = byte(kind)
	binary.LittleEndian.PutUint32(dst[crcAt:], headerCRC(crc, dst))
	copy(dst[payloadAt:], payload)
}

// headerCRC extends the payloadCRC by the header of record b.
func headerCRC(crc uint32, b []byte) uint32 {
	crc = crc32.Update(crc, castagnoli, b[lengthAt:crcAt])
	return crc32.Update(crc, castagnoli, b[lsnAt:payloadAt])
}

// parseHeader returns how many bytes the record at lsn takes, if b, of which
// payloadAt bytes are read, begins a record there that ends within room bytes.
func parseHeader(b []byte, lsn LSN, room uint64) (size int, err error) {
	kind := Kind(b[kindAt])
	length := binary.LittleEndian.Uint32(b[lengthAt:])
	switch at := LSN(binary.LittleEndian.Uint64(b[lsnAt:])); {
	case kind != KindBatch && kind != KindMark:
		return 0, fmt.Errorf("record kind %d", kind)
	case at != lsn:
		return 0, fmt.Errorf("record of lsn %d at lsn %d", at, lsn)
	case length > MaxPayload:
		return 0, fmt.Errorf("record of %d bytes", length)
	case kind == KindMark && length != markPayload:
		return 0, fmt.Errorf("mark of %d bytes", length)
	}
	size = recordBytes(int(length))
	if uint64(size) > room {
		return 0, fmt.Errorf("record of %d bytes, %d bytes before the end of the log", size, room)
	}
	return size, nil
}

// parseRecord returns what is in b, the whole of a record whose header is good.
// The payload is a part of b.
func parseRecord(b []byte, salt uint32) (kind Kind, payload []byte, err error) {
	length := binary.LittleEndian.Uint32(b[lengthAt:])
	payload = b[payloadAt : payloadAt+length]
	want := binary.LittleEndian.Uint32(b[crcAt:])
	if got := headerCRC(payloadCRC(salt, payload), b); got != want {
		return 0, nil, fmt.Errorf("record crc %#08x, want %#08x", got, want)
	}
	for _, c := range b[payloadAt+length:] {
		if c != 0 {
			return 0, nil, fmt.Errorf("record padding %#02x, want 0", c)
		}
	}
	return Kind(b[kindAt]), payload, nil
}

// durableMark returns the LSN in a mark's payload.
func durableMark(payload []byte) LSN {
	return LSN(binary.LittleEndian.Uint64(payload))
}

// parseMark returns the LSN in the mark at lsn, if b starts with one.
func parseMark(b []byte, lsn LSN, salt uint32) (durable LSN, ok bool) {
	if LSN(binary.LittleEndian.Uint64(b[lsnAt:])) != lsn || Kind(b[kindAt]) != KindMark {
		return 0, false
	}
	if _, err := parseHeader(b, lsn, markBytes); err != nil {
		return 0, false
	}
	_, payload, err := parseRecord(b[:markBytes], salt)
	if err != nil {
		return 0, false
	}
	return durableMark(payload), true
}
