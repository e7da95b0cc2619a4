package wal

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// parse is what the reader does with bytes that hold the whole of the log.
func parse(b []byte, lsn LSN, salt uint32) (Kind, []byte, error) {
	size, err := parseHeader(b, lsn, uint64(len(b)))
	if err != nil {
		return 0, nil, err
	}
	return parseRecord(b[:size], salt)
}

func encode(lsn LSN, kind Kind, salt uint32, payload []byte) []byte {
	b := bytes.Repeat([]byte{0xaa}, recordBytes(len(payload))) // as a used buffer
	putRecord(b, lsn, kind, payloadCRC(salt, payload), payload)
	return b
}

var recordTests = []struct {
	name    string
	lsn     LSN
	kind    Kind
	payload []byte
	size    int
}{
	{"empty", 0, KindBatch, nil, 24},
	{"one byte", 24, KindBatch, []byte{1}, 24},
	{"no padding", 8, KindBatch, []byte("1234567"), 24},
	{"most padding", 8, KindBatch, []byte("12345678"), 32},
	{"zeros", 1 << 40, KindBatch, make([]byte, 100), 120},
	{"mark", 4096, KindMark, binary.LittleEndian.AppendUint64(nil, 4000), 32},
	{"far", 1<<63 - 8, KindBatch, []byte("x"), 24},
}

// TestRecord checks that a record comes back as it was put, and that with any
// bit of it flipped, another salt or another place, it is none.
func TestRecord(t *testing.T) {
	for _, tt := range recordTests {
		t.Run(tt.name, func(t *testing.T) {
			b := encode(tt.lsn, tt.kind, testSalt, tt.payload)
			if len(b) != tt.size {
				t.Errorf("%d bytes, want %d", len(b), tt.size)
			}
			kind, payload, err := parse(b, tt.lsn, testSalt)
			if err != nil || kind != tt.kind || !bytes.Equal(payload, tt.payload) {
				t.Fatalf("parse = %d, %x, %v", kind, payload, err)
			}
			for i := range 8 * len(b) {
				b[i/8] ^= 1 << (i % 8)
				if _, _, err := parse(b, tt.lsn, testSalt); err == nil {
					t.Errorf("passes with bit %d of byte %d flipped", i%8, i/8)
				}
				b[i/8] ^= 1 << (i % 8)
			}
			for i := range 32 {
				if _, _, err := parse(b, tt.lsn, testSalt^1<<i); err == nil {
					t.Errorf("passes with bit %d of the salt flipped", i)
				}
			}
			if _, _, err := parse(b, tt.lsn+8, testSalt); err == nil {
				t.Error("passes at another lsn")
			}
			if _, _, err := parse(b[:len(b)-1], tt.lsn, testSalt); err == nil {
				t.Error("passes without its last byte")
			}
		})
	}
}

// TestRecordRefused has headers that no writer makes, with the right crc.
func TestRecordRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		kind    Kind
		payload []byte
	}{
		{"kind 0", 0, nil},
		{"kind 3", 3, nil},
		{"short mark", KindMark, make([]byte, 7)},
		{"long mark", KindMark, make([]byte, 9)},
	} {
		if _, _, err := parse(encode(64, tt.kind, 0, tt.payload), 64, 0); err == nil {
			t.Errorf("%s passes", tt.name)
		}
	}
	huge := encode(0, KindBatch, 0, nil)
	binary.LittleEndian.PutUint32(huge, MaxPayload+1)
	if _, err := parseHeader(huge, 0, 1<<40); err == nil {
		t.Error("length MaxPayload+1 passes")
	}
}
