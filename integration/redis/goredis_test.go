package redis

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestGoRedis uses go-redis as programs do, with both protocols.
func TestGoRedis(t *testing.T) {
	eachServer(t, func(t *testing.T, s *server) {
		for _, protocol := range []int{2, 3} {
			t.Run(fmt.Sprint("RESP", protocol), func(t *testing.T) {
				c := redis.NewClient(&redis.Options{Addr: s.addr, Protocol: protocol, ClientName: "worker"})
				defer c.Close()
				goRedisValues(t, c)
				goRedisPipeline(t, c)
				goRedisCounters(t, c)
			})
		}
	})
}

// must returns the value of a command that has one.
func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func goRedisValues(t *testing.T, c *redis.Client) {
	ctx := t.Context()
	text, number := must[string](t), must[int64](t)
	text(c.FlushAll(ctx).Result())
	if got := text(c.Set(ctx, "k\r\n\x00", "v\r\n\xff", time.Hour).Result()); got != "OK" {
		t.Errorf("SET = %q", got)
	}
	if got := text(c.Get(ctx, "k\r\n\x00").Result()); got != "v\r\n\xff" {
		t.Errorf("GET = %q", got)
	}
	if ttl := must[time.Duration](t)(c.PTTL(ctx, "k\r\n\x00").Result()); ttl <= 59*time.Minute || ttl > time.Hour {
		t.Errorf("PTTL = %v", ttl)
	}
	if _, err := c.Get(ctx, "nothing").Result(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET of nothing: %v", err)
	}
	if set := must[bool](t)(c.SetNX(ctx, "once", "1", 0).Result()); !set {
		t.Error("SETNX did not set")
	}
	if set := must[bool](t)(c.SetNX(ctx, "once", "2", 0).Result()); set {
		t.Error("SETNX set twice")
	}
	if n := number(c.IncrBy(ctx, "once", 41).Result()); n != 42 {
		t.Errorf("INCRBY = %d", n)
	}
	if err := c.Incr(ctx, "k\r\n\x00").Err(); err == nil || err.Error() != "ERR value is not an integer or out of range" {
		t.Errorf("INCR of text: %v", err)
	}
	if f := must[float64](t)(c.IncrByFloat(ctx, "ratio", 0.25).Result()); f != 0.25 {
		t.Errorf("INCRBYFLOAT = %v", f)
	}
	if got := must[[]any](t)(c.MGet(ctx, "once", "nothing").Result()); got[0] != "42" || got[1] != nil {
		t.Errorf("MGET = %v", got)
	}
	if n := number(c.Del(ctx, "once", "ratio", "nothing").Result()); n != 2 {
		t.Errorf("DEL = %d", n)
	}
	if name := text(c.ClientGetName(ctx).Result()); name != "worker" {
		t.Errorf("CLIENT GETNAME = %q", name)
	}
	if commands := must[map[string]*redis.CommandInfo](t)(c.Command(ctx).Result()); commands["mset"] == nil || commands["mset"].FirstKeyPos != 1 {
		t.Errorf("COMMAND has mset as %+v", commands["mset"])
	}
}

func goRedisPipeline(t *testing.T, c *redis.Client) {
	ctx := t.Context()
	if _, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range 2000 {
			p.Set(ctx, fmt.Sprint("many:", i), i, 0)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for it := c.Scan(ctx, 0, "many:*", 100).Iterator(); it.Next(ctx); {
		found[it.Val()] = true
	}
	if len(found) != 2000 {
		t.Errorf("SCAN finds %d keys", len(found))
	}
	cmds, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "t", 1, 0)
		p.Incr(ctx, "t")
		return nil
	})
	if err != nil || cmds[1].(*redis.IntCmd).Val() != 2 {
		t.Errorf("EXEC: %v, %v", cmds, err)
	}
}

// goRedisCounters counts in several goroutines with WATCH, and loses nothing.
func goRedisCounters(t *testing.T, c *redis.Client) {
	const goroutines, each = 4, 25
	ctx := t.Context()
	count := func(tx *redis.Tx) error {
		n, err := tx.Get(ctx, "n").Int()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, "n", n+1, 0).Err() })
		return err
	}
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for done := 0; done < each; {
				switch err := c.Watch(ctx, count, "n"); {
				case err == nil:
					done++
				case !errors.Is(err, redis.TxFailedErr):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n, err := c.Get(ctx, "n").Int(); err != nil || n != goroutines*each {
		t.Errorf("%d, %v; want %d", n, err, goroutines*each)
	}
}
