// Package blockrec is a disk that writes down what is done to it, and can then be
// what a power cut at any moment would have left. A real file system lies on it,
// so that not only our code is tested but what the file system makes of its calls:
//
//	 the user                                      the server
//	+------------------------------+              +------------------+
//	| store                        |              |                  |
//	|   ext4, XFS, btrfs (kernel)  |   FUSE       |                  |
//	|     /dev/loopN  -------------|-- disk ----->| Server: the      |
//	| "acknowledged 7"  -----------|-- marks ---->| bytes and a log  |
//	| Client: Log, Show, ... ------|-- pipe ----->|                  |
//	+------------------------------+              +------------------+
//
// They must be two processes: one whose threads all wait for its own FUSE server
// hangs. And what lies on the disk must not be mounted in the mount namespace of
// the server: if the server is the last process there, the kernel unmounts while
// it ends it, and waits for ever for answers over a connection that it would close
// next. So:
//
//	namespace of the server    Mount, then start the user
//	  namespace of the user    mount the loop device
//
// The user's is made later, as a copy. Each goes with its last process, and with it
// what was mounted there, and the loop devices.
//
// # States
//
// A power cut after n operations leaves what was written before the last flush,
// and of the writes behind it whatever the Loss says:
//
//	W W F W W M W |        | n     drop     W W
//	---------                      prefix   W W . W W . W
//	durable   \_____/              subset   some of the last three
//	           pending             torn     some blocks of each of them
//
// A write takes its place in the log when it is done, a flush when it begins. So
// a write that was under way when a flush came is pending after it, as with a
// real disk. The block layer turns FUA into a flush, since a loop device has none.
//
// Blocks of 4096 bytes are the logical blocks of the device: a file system may rely
// on it that they are not torn, and does, for its superblock. The store relies on
// 512 bytes only. So torn splits into such sectors only the blocks that hold
// files of the store.
//
// # Crashes in recovery
//
// A state that is shown can be written to, and that is written down too. So there
// are states of the recovery from a state (ShowAgain).
package blockrec
