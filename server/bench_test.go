package server

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"faultline/store"
)

// A loop is a connection that sends one pipeline again and again and drops the
// replies, so that a benchmark sees the server alone.
type loop struct {
	net.Conn
	pipeline string
	at       int
	left     int // times that the pipeline is to be sent
}

func (l *loop) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, l.pipeline[l.at:])
	if l.at += n; l.at == len(l.pipeline) {
		l.at = 0
		l.left--
	}
	return n, nil
}

func (l *loop) Write(p []byte) (int, error)      { return len(p), nil }
func (l *loop) SetWriteDeadline(time.Time) error { return nil }
func (l *loop) SetReadDeadline(time.Time) error  { return nil }
func (l *loop) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (l *loop) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (l *loop) Close() error                     { return nil }

// pipelineOf repeats a command 16 times, as redis-benchmark -P 16 does.
func pipelineOf(command string) string { return strings.Repeat(command, depth) }

const (
	depth   = 16
	oneGet  = "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000012345\r\n"
	oneSet  = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000012345\r\n$3\r\nxxx\r\n"
	oneMset = "*5\r\n$4\r\nMSET\r\n$16\r\nkey:000000012345\r\n$3\r\nxxx\r\n$16\r\nkey:000000012346\r\n$3\r\nxxx\r\n"
	oneDel  = "*2\r\n$3\r\nDEL\r\n$16\r\nkey:000000012345\r\n"
	oneIncr = "*2\r\n$4\r\nINCR\r\n$16\r\ncnt:000000012345\r\n"
	onePing = "*1\r\n$4\r\nPING\r\n"
)

func benchmark(b *testing.B, command string, d Fsync) {
	db := openStore(b)
	if err := db.Put([]byte("key:000000012345"), []byte("xxx"), store.Async); err != nil {
		b.Fatal(err)
	}
	srv := New(db, Options{Fsync: d})
	b.ReportAllocs()
	b.ResetTimer()
	run(srv, command, b.N)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*depth), "ns/command")
}

func run(srv *Server, command string, pipelines int) {
	srv.admit(&loop{pipeline: pipelineOf(command), left: pipelines})
	srv.conns.Wait()
}

func BenchmarkPing(b *testing.B)     { benchmark(b, onePing, FsyncNo) }
func BenchmarkGet(b *testing.B)      { benchmark(b, oneGet, FsyncNo) }
func BenchmarkGetSync(b *testing.B)  { benchmark(b, oneGet, FsyncAlways) }
func BenchmarkSet(b *testing.B)      { benchmark(b, oneSet, FsyncNo) }
func BenchmarkSetSync(b *testing.B)  { benchmark(b, oneSet, FsyncAlways) }
func BenchmarkMset(b *testing.B)     { benchmark(b, oneMset, FsyncNo) }
func BenchmarkIncr(b *testing.B)     { benchmark(b, oneIncr, FsyncNo) }
func BenchmarkDelAsync(b *testing.B) { benchmark(b, oneDel, FsyncNo) }
