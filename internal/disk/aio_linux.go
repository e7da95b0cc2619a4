package disk

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A queue reads and writes at many places of a file at a time, without a thread for
// each. A goroutine that blocks in pread keeps its P until the scheduler notices,
// 20 us to 10 ms later: a few of them, and nobody else runs. One that waits for the
// queue is parked.
//
//	goroutines            kernel                    reaper
//	   |---- io_submit ---->|                          |
//	   | parked             |---- eventfd (netpoll) -->|
//	   |                    |<---- io_getevents -------|
//	   |<------------------------------ done ----------|
//
// Alone, pread is faster: it needs one switch of threads where this needs two of
// goroutines besides. So who finds nobody else reading does that.
//
// Tried and no better: to let one goroutine submit for all who have come meanwhile
// (fewer calls, the same CPU), and to have it yield first (slower beside a
// goroutine that computes). io_uring would do the same work; containers allow it
// less often. BenchmarkRead has the figures.
//
// The queue is made when it is first needed. Where the kernel has no AIO to give,
// every read is a pread.
type queue struct {
	reading atomic.Int32 // goroutines in ReadAt
	threads int32        // as many of them read in their own threads

	once    sync.Once
	ready   atomic.Bool // what follows is there
	context uintptr     // aio_context_t
	event   *os.File    // eventfd, signalled for each read that ends
	eventFD uint32
	slots   []slot
	free    chan *slot
	ended   chan struct{} // closed by the reaper
}

const (
	// queueDepth is how many accesses are under way at most. From 64 on the disks
	// that were tried got no faster.
	queueDepth = 128

	// manyDepth is how many of them one call of many has, so that it does not hold
	// up all others.
	manyDepth = 16
)

// A slot is one access that is under way. What the kernel has of it stays in place:
// slots are not on a stack.
type slot struct {
	control iocb
	mem     []byte     // keeps alive what the kernel has an address of
	done    chan int64 // bytes, or a negative errno; capacity 1
}

// init lets half of the Ps be held by threads that read.
func (q *queue) init() { q.threads = int32(max(1, runtime.GOMAXPROCS(0)/2)) }

// enter counts a reader in, and tells whether it shall use the queue.
func (q *queue) enter() bool { return q.reading.Add(1) > q.threads }

func (q *queue) leave() { q.reading.Add(-1) }

// one makes one access. It says false if it could not, or not as a whole, for
// whatever reason: the caller then does it in its own way, and gets to know why.
func (q *queue) one(fd int, opcode uint16, mem []byte, off int64) bool {
	if !q.start() {
		return false
	}
	s := <-q.free
	return q.submit(s, fd, opcode, mem, off) && q.finish(s)
}

// many makes accesses, with manyDepth of them under way, and sets their Err. What
// it could not make it leaves to alone.
func (q *queue) many(fd int, opcode uint16, accesses []Access, alone func([]byte, int64) (int, error)) {
	queued := len(accesses) > 1 && q.start()
	var under [manyDepth]*slot // by index into accesses, modulo manyDepth
	oldest := 0
	finish := func() {
		a, s := &accesses[oldest], under[oldest%manyDepth]
		a.Err = nil
		if s == nil || !q.finish(s) {
			_, a.Err = alone(a.Mem, a.Off)
		}
		oldest++
	}
	for i, a := range accesses {
		if i-oldest == manyDepth {
			finish()
		}
		var s *slot
		for queued && s == nil {
			select {
			case s = <-q.free:
			default: // who waits for a slot must not hold one
				if oldest == i {
					s = <-q.free
				} else {
					finish()
				}
			}
		}
		if s != nil && !q.submit(s, fd, opcode, a.Mem, a.Off) {
			s = nil
		}
		under[i%manyDepth] = s
	}
	for oldest < len(accesses) {
		finish()
	}
}

// submit begins an access. If it says false the slot is free again.
func (q *queue) submit(s *slot, fd int, opcode uint16, mem []byte, off int64) bool {
	s.mem = mem
	s.control = iocb{
		data:   uint64(uintptr(unsafe.Pointer(s)) - uintptr(unsafe.Pointer(&q.slots[0]))),
		opcode: opcode,
		fd:     uint32(fd),
		buf:    uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))),
		bytes:  uint64(len(mem)),
		off:    off,
		flags:  iocbResFD,
		resFD:  q.eventFD,
	}
	list := [1]*iocb{&s.control}
	for {
		n, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, q.context, 1, uintptr(unsafe.Pointer(&list)))
		if errno == unix.EINTR {
			continue
		}
		if n != 1 {
			q.release(s)
			return false
		}
		return true
	}
}

// finish waits for an access, and tells whether all of it was made.
func (q *queue) finish(s *slot) bool {
	whole := <-s.done == int64(len(s.mem))
	q.release(s)
	return whole
}

func (q *queue) release(s *slot) {
	s.mem = nil
	q.free <- s
}

// start makes the queue, if nobody has. It says false where there can be none.
func (q *queue) start() bool {
	q.once.Do(func() {
		if err := q.setup(); err == nil {
			q.ready.Store(true)
		}
	})
	return q.ready.Load()
}

func (q *queue) setup() error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	q.event, q.eventFD = os.NewFile(uintptr(fd), "eventfd"), uint32(fd)
	wait, err := q.event.SyscallConn()
	if err != nil {
		return errors.Join(err, q.event.Close())
	}
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, queueDepth, uintptr(unsafe.Pointer(&q.context)), 0); errno != 0 {
		return errors.Join(os.NewSyscallError("io_setup", errno), q.event.Close())
	}
	q.slots = make([]slot, queueDepth)
	q.free = make(chan *slot, queueDepth)
	for i := range q.slots {
		q.slots[i].done = make(chan int64, 1)
		q.free <- &q.slots[i]
	}
	q.ended = make(chan struct{})
	go q.reap(wait)
	return nil
}

// reap wakes those whose reads have ended, until the eventfd is closed. Nobody
// reads the eventfd: the netpoller looks at its edges, and each read that ends is
// one.
func (q *queue) reap(wait syscall.RawConn) {
	defer close(q.ended)
	var events [queueDepth]ioEvent
	_ = wait.Read(func(uintptr) bool {
		for _, e := range events[:q.getEvents(&events)] {
			s := (*slot)(unsafe.Add(unsafe.Pointer(&q.slots[0]), e.data))
			s.done <- e.res
		}
		return false
	})
}

// getEvents does not wait. It cannot fail while the context is there.
func (q *queue) getEvents(events *[queueDepth]ioEvent) int {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, q.context, 0, queueDepth, uintptr(unsafe.Pointer(events)), 0, 0)
		if errno == 0 {
			return int(n)
		}
		if errno != unix.EINTR {
			panic(fmt.Sprintf("io_getevents: %v", errno))
		}
	}
}

// close ends the reaper and gives the context back. Nobody reads any more.
func (q *queue) close() error {
	q.once.Do(func() {}) // no queue will be made
	if !q.ready.Swap(false) {
		return nil
	}
	err := q.event.Close()
	<-q.ended
	if _, _, errno := unix.Syscall(unix.SYS_IO_DESTROY, q.context, 0, 0); errno != 0 {
		err = errors.Join(err, os.NewSyscallError("io_destroy", errno))
	}
	return err
}

// The kernel's structures and constants, include/uapi/linux/aio_abi.h of Linux 6.18.
const (
	iocbPread  = 0 // IOCB_CMD_PREAD
	iocbPwrite = 1 // IOCB_CMD_PWRITE
	iocbResFD  = 1 // IOCB_FLAG_RESFD
)

// iocb is struct iocb.
type iocb struct {
	data     uint64 // comes back in the event
	_        [2]uint32
	opcode   uint16
	priority int16
	fd       uint32
	buf      uint64
	bytes    uint64
	off      int64
	_        uint64
	flags    uint32
	resFD    uint32
}

// ioEvent is struct io_event.
type ioEvent struct {
	data uint64
	_    uint64
	res  int64
	_    int64
}

var (
	_ = [1]struct{}{}[unsafe.Sizeof(iocb{})-64]
	_ = [1]struct{}{}[unsafe.Offsetof(iocb{}.buf)-24]
	_ = [1]struct{}{}[unsafe.Offsetof(iocb{}.flags)-56]
	_ = [1]struct{}{}[unsafe.Sizeof(ioEvent{})-32]
)
