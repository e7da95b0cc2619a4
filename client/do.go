package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/rueidis"
)

// Waiting between attempts: it doubles, with a random half.
const (
	firstWait = time.Millisecond
	longWait  = time.Second

	// attempts is how often a read is tried while connections are lost: some 5 s.
	attempts = 14
)

// retryDelay is when rueidis tries a read again; negative is not at all. A server
// that is starting is asked until the context ends.
func retryDelay(attempt int, _ rueidis.Completed, err error) time.Duration {
	if attempt > attempts && !isLoading(err) {
		return -1
	}
	return delay(attempt)
}

// delay returns how long to wait after so many attempts.
func delay(attempt int) time.Duration {
	most := min(firstWait<<min(attempt, 20), longWait)
	return most/2 + rand.N(most/2+1)
}

// pause waits after so many attempts, or until ctx ends and returns its error.
func pause(ctx context.Context, attempt int) error {
	timer := time.NewTimer(delay(attempt))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// do sends a command, again as long as the server is starting. A reply of nil is no
// error.
func (l *link) do(ctx context.Context, build func(rueidis.Builder) rueidis.Completed) (rueidis.RedisMessage, error) {
	for attempt := 1; ; attempt++ {
		m, err := l.Do(ctx, build(l.B())).ToMessage()
		if rueidis.IsRedisNil(err) {
			return m, nil
		}
		if !isLoading(err) {
			return m, l.err(err)
		}
		if ctxErr := pause(ctx, attempt); ctxErr != nil {
			return m, fmt.Errorf("%w: %w", ctxErr, l.err(err))
		}
	}
}

// doAll sends commands one after the other on one connection, again as long as the
// server is starting.
func (l *link) doAll(ctx context.Context, build func(rueidis.Builder) []rueidis.Completed) []rueidis.RedisResult {
	for attempt := 1; ; attempt++ {
		replies := l.DoMulti(ctx, build(l.B())...)
		if !isLoading(firstError(replies)) || pause(ctx, attempt) != nil {
			return replies
		}
	}
}

// firstError returns the first error that replies have; that a key or value is nil is
// none.
func firstError(replies []rueidis.RedisResult) error {
	for _, r := range replies {
		if err := r.Error(); err != nil && !rueidis.IsRedisNil(err) {
			return err
		}
	}
	return nil
}
