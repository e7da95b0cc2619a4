package ltm

import (
	"bytes"
	"compress/flate"
	"testing"
)

// TestContent checks that a value tells key and write, and is refused with
// another key, another write, another length or another byte.
func TestContent(t *testing.T) {
	for _, compressible := range []bool{false, true} {
		for _, size := range []int{idBytes, 100, 3000} {
			c := newContent(size, compressible, 1)
			value := make([]byte, size)
			for _, w := range []writeID{0, newWriteID(1, 0, 0), newWriteID(maxSteps, maxClients-1, maxWrites)} {
				c.put(value, 7, w)
				if got, ok := c.parse(value, 7); !ok || got != w {
					t.Errorf("value of %d: write %x, %t, want %x", size, got, ok, w)
				}
				if _, ok := c.parse(value[:size-1], 7); ok {
					t.Errorf("value of %d is whole without its last byte", size)
				}
				if size == idBytes {
					continue // has no more than the name
				}
				if _, ok := c.parse(value, 8); ok {
					t.Errorf("value of %d is also that of another key", size)
				}
				for _, at := range []int{0, size - 1} {
					value[at] ^= 1
					if _, ok := c.parse(value, 7); ok {
						t.Errorf("value of %d is whole with byte %d flipped", size, at)
					}
					value[at] ^= 1
				}
			}
		}
	}
}

func TestWriteID(t *testing.T) {
	for _, want := range [][3]uint64{{1, 0, 0}, {1, 2, 3}, {maxSteps, maxClients - 1, maxWrites}} {
		step, client, count := newWriteID(int(want[0]), int(want[1]), want[2]).split()
		if got := [3]uint64{uint64(step), uint64(client), count}; got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// TestCompressible compresses many values of one kind and of the other.
func TestCompressible(t *testing.T) {
	for _, test := range []struct {
		compressible bool
		least, most  float64
	}{{false, 0.95, 1.1}, {true, 0.3, 0.75}} {
		c := newContent(100, test.compressible, 1)
		var packed bytes.Buffer
		w, err := flate.NewWriter(&packed, flate.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		value, all := make([]byte, 100), 0
		for i := range uint64(2000) {
			c.put(value, i, 0)
			_, _ = w.Write(value[idBytes:])
			all += len(value) - idBytes
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if ratio := float64(packed.Len()) / float64(all); ratio < test.least || ratio > test.most {
			t.Errorf("compressible %t: values shrink to %.2f, want %.2f to %.2f", test.compressible, ratio, test.least, test.most)
		}
	}
}
