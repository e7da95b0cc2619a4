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
	single  chan *slot    // free ones, for accesses that come alone
	batch   chan *slot    // free ones, for those that come together
	ended   chan struct{} // closed by the reaper
}

const (
	// queueDepth is how many accesses are under way at most, of those that come alone
	// and of those that come together. From 64 on the disks that were tried got little
	// faster, but who has more under way gets more of a disk that others use too.
	queueDepth = 128

	// manyDepth is how many of them one call of many has, so that it does not hold
	// up all others.
	manyDepth = 32
)

// A slot is one access that is under way. What the kernel has of it stays in place:
// slots are not on a stack.
type slot struct {
	control iocb
	home    chan *slot // where it is when it is free
	mem     []byte     // keeps alive what the kernel has an address of
	done    chan int64 // bytes, or a negative errno; capacity 1, and one is sent
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
	s := <-q.single
	q.submit([]*iocb{q.prepare(s, fd, opcode, mem, off)})
	return q.finish(s)
}

// many makes accesses, with manyDepth of them under way, sets their Err, and calls
// ended with the index of each, in order, while those after it are under way. What it
// could not make it leaves to alone. Both may make single accesses: these have slots of
// their own, and need not wait for a few calls of many that have taken all others.
func (q *queue) many(fd int, opcode uint16, accesses []Access, alone func([]byte, int64) (int, error), ended func(i int)) {
	queued := len(accesses) > 1 && q.start()
	var under [manyDepth]*slot // by index into accesses, modulo manyDepth
	for begun, done := 0, 0; done < len(accesses); {
		if queued {
			begun = q.begin(&under, fd, opcode, accesses, begun, done)
		}
		// Most of them keep the disk busy while the next are begun: a system call
		// for each that ends would cost more than the access.
		for until := done + max(1, (begun-done)/4); done < until; done++ {
			a := &accesses[done]
			a.Err = nil
			if !queued || !q.finish(under[done%manyDepth]) {
				_, a.Err = alone(a.Mem, a.Off)
			}
			ended(done)
		}
	}
}

// begin begins accesses from begun on, as many as there are slots for, with one
// system call, and returns up to where. Those from done on are under way.
func (q *queue) begin(under *[manyDepth]*slot, fd int, opcode uint16, accesses []Access, begun, done int) int {
	var list [manyDepth]*iocb
	n := 0
	for ; begun < len(accesses) && begun-done < manyDepth; begun++ {
		s := q.take(begun == done)
		if s == nil {
			break
		}
		under[begun%manyDepth] = s
		list[n] = q.prepare(s, fd, opcode, accesses[begun].Mem, accesses[begun].Off)
		n++
	}
	q.submit(list[:n])
	return begun
}

// take returns a free slot for many. If there is none it waits, which is for who holds
// none, or returns nil.
func (q *queue) take(wait bool) *slot {
	if wait {
		return <-q.batch
	}
	select {
	case s := <-q.batch:
		return s
	default:
		return nil
	}
}

// prepare has s say what is to be accessed.
func (q *queue) prepare(s *slot, fd int, opcode uint16, mem []byte, off int64) *iocb {
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
	return &s.control
}

// submit begins accesses. The kernel takes as many as it can: it stops before one
// that it refuses, and says why in the next call. That one has then ended.
func (q *queue) submit(list []*iocb) {
	for len(list) > 0 {
		n, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, q.context, uintptr(len(list)), uintptr(unsafe.Pointer(&list[0])))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			q.slotAt(list[0].data).done <- -int64(errno)
			n = 1
		}
		list = list[n:]
	}
}

// slotAt returns the slot at so many bytes of slots.
func (q *queue) slotAt(at uint64) *slot {
	return (*slot)(unsafe.Add(unsafe.Pointer(&q.slots[0]), at))
}

// finish waits for an access, and tells whether all of it was made.
func (q *queue) finish(s *slot) bool {
	whole := <-s.done == int64(len(s.mem))
	q.release(s)
	return whole
}

func (q *queue) release(s *slot) {
	s.mem = nil
	s.home <- s
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
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, 2*queueDepth, uintptr(unsafe.Pointer(&q.context)), 0); errno != 0 {
		return errors.Join(os.NewSyscallError("io_setup", errno), q.event.Close())
	}
	q.slots = make([]slot, 2*queueDepth)
	q.single, q.batch = make(chan *slot, queueDepth), make(chan *slot, queueDepth)
	for i := range q.slots {
		s := &q.slots[i]
		s.done, s.home = make(chan int64, 1), q.single
		if i >= queueDepth {
			s.home = q.batch
		}
		s.home <- s
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
	var events [2 * queueDepth]ioEvent // all that there can be: what is left here, no edge tells of
	_ = wait.Read(func(uintptr) bool {
		for _, e := range events[:q.getEvents(&events)] {
			q.slotAt(e.data).done <- e.res
		}
		return false
	})
}

// getEvents does not wait. It cannot fail while the context is there.
func (q *queue) getEvents(events *[2 * queueDepth]ioEvent) int {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, q.context, 0, uintptr(len(events)), uintptr(unsafe.Pointer(events)), 0, 0)
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
