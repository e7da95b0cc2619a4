// Package redis shows that kvd behaves as Redis where it says that it does: it is
// compared with Debian's redis-server, run by Redis's own test suite, and used
// by the clients that people have. docs/redis.md has what is known to differ.
package redis

import (
	"os"
	"testing"
	"time"

	"faultline/integration/internal/rig"
)

// watchdog ends what hangs. It decides nothing else.
const watchdog = time.Minute

// kvdPath is the binary under test.
var kvdPath string

func TestMain(m *testing.M) { os.Exit(rig.Main(m, &kvdPath)) }
