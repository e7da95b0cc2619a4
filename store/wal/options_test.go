package wal

import "faultline/internal/memdisk"

const (
	testDir  = "/d/wal"
	testSalt = 0x5eed
)

func testOptions(m *memdisk.FS) Options {
	return Options{FS: m, Dir: testDir, SegmentBytes: 4096, Salt: testSalt, Spares: 2, NoHelper: true}
}
