package machine

import (
	"bytes"
	"math/rand/v2"
	"net"
	"testing"
)

// TestDisk plays a few requests on a disk of four sectors, cuts its power, and looks
// at what is left. The letters are sectors; small ones were there before.
func TestDisk(t *testing.T) {
	everything := Way{"everything", 1, false}
	tests := []struct {
		name string
		play func(d *Disk)
		way  Way
		want string
	}{
		{"a write without a flush", func(d *Disk) { put(d, 0, "A"); d.acknowledge() }, Forget, "abcd"},
		{"it may survive", func(d *Disk) { put(d, 0, "A"); d.acknowledge() }, everything, "Abcd"},
		{"a flush", func(d *Disk) { put(d, 1, "BC"); d.acknowledge(); d.flush() }, Forget, "aBCd"},
		{"a flush that overtakes a write", func(d *Disk) { put(d, 1, "B"); d.flush() }, Forget, "abcd"},
		{"the next flush has it", func(d *Disk) { put(d, 1, "B"); d.flush(); d.acknowledge(); d.flush() }, Forget, "aBcd"},
		{"a lie", func(d *Disk) { d.Lie(true); put(d, 1, "B"); d.acknowledge(); d.flush() }, Forget, "abcd"},
		{"the later write wins", func(d *Disk) { put(d, 1, "B"); put(d, 1, "X") }, everything, "aXcd"},
		{"no power at the second request", func(d *Disk) { d.LosePower(2, 9); put(d, 0, "A"); d.acknowledge(); d.flush() }, Forget, "abcd"},
		{"no power after it", func(d *Disk) { d.LosePower(1, 9); put(d, 0, "A"); put(d, 1, "B") }, everything, "Abcd"},
		{"no power with two in the cache", func(d *Disk) { d.LosePower(9, 2); put(d, 0, "A"); put(d, 1, "B"); put(d, 2, "C") }, everything, "ABcd"},
	}
	for _, test := range tests {
		d := NewDisk(sectors("abcd"))
		test.play(d)
		d.Cut(test.way, rand.New(rand.NewPCG(1, 1)))
		if !bytes.Equal(d.medium, sectors(test.want)) || !bytes.Equal(d.live, d.medium) {
			t.Errorf("%s: left %q, want %q", test.name, letters(d.medium), test.want)
		}
	}
}

// TestTorn tears a write of many sectors: each is old or new, and not all are the
// same. What lies in the first block stays whole.
func TestTorn(t *testing.T) {
	const count = 3 * WholeBytes / SectorBytes
	d := NewDisk(make([]byte, count*SectorBytes))
	whole, rest := bytes.Repeat([]byte{1}, WholeBytes), bytes.Repeat([]byte{1}, 2*WholeBytes)
	d.write(whole, 0)
	d.write(rest, WholeBytes)
	loss := d.Cut(Way{"some sectors", 0.5, true}, rand.New(rand.NewPCG(1, 1)))
	if loss.Cached() != 2 || loss.Torn != 1 {
		t.Errorf("%v", loss)
	}
	for i := range count {
		sector := d.medium[i*SectorBytes:][:SectorBytes]
		if n := bytes.Count(sector, []byte{1}); n != 0 && n != SectorBytes {
			t.Errorf("sector %d has %d new bytes", i, n)
		}
	}
	if first := d.medium[:WholeBytes]; bytes.Count(first, []byte{1})%WholeBytes != 0 {
		t.Error("the first block is torn")
	}
}

// TestAnswer sends a write and a flush at one go, as a machine does that does not
// wait: the write is on its way when the flush is made, so that it is not on the
// medium after it. A flush that comes when the write was acknowledged has it.
func TestAnswer(t *testing.T) {
	d := NewDisk(sectors("abcd"))
	ours, theirs := net.Pipe()
	defer theirs.Close()
	requests := make(chan request, 2)
	requests <- request{command: commandWrite, cookie: 1, length: SectorBytes, data: sectors("A")}
	requests <- request{command: commandFlush, cookie: 2}
	answered := make(chan struct{})
	go func() { d.answer(ours, requests); close(answered) }()

	var reply [16]byte
	for _, cookie := range []byte{2, 1} {
		if _, err := theirs.Read(reply[:]); err != nil || reply[15] != cookie {
			t.Fatalf("reply %x, %v, want cookie %d", reply, err, cookie)
		}
	}
	if got := letters(d.medium); got != "abcd" {
		t.Errorf("after a flush beside the write: %q", got)
	}
	requests <- request{command: commandFlush, cookie: 3}
	if _, err := theirs.Read(reply[:]); err != nil || reply[15] != 3 {
		t.Fatalf("reply %x, %v", reply, err)
	}
	if got := letters(d.medium); got != "Abcd" {
		t.Errorf("after a flush behind the write: %q", got)
	}
	close(requests)
	<-answered
}

func put(d *Disk, sector int64, text string) { d.write(sectors(text), sector*SectorBytes) }

// sectors returns a sector for each letter.
func sectors(text string) (b []byte) {
	for _, c := range []byte(text) {
		b = append(b, bytes.Repeat([]byte{c}, SectorBytes)...)
	}
	return b
}

func letters(b []byte) (text string) {
	for i := 0; i < len(b); i += SectorBytes {
		text += string(b[i : i+1])
	}
	return text
}
