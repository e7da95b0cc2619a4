package redis

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// TestRueidis uses rueidis with its cache on, which needs CLIENT TRACKING: what
// another client writes, expires or empties is seen, and what nobody has touched
// is not asked for again.
func TestRueidis(t *testing.T) {
	eachServer(t, func(t *testing.T, s *server) {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.addr}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		other, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		rueidisCache(t, c, other)
		rueidisPipelines(t, c)
	})
}

// rueidisCache changes a cached key in different ways.
func rueidisCache(t *testing.T, c rueidis.Client, other *conn) {
	ctx := t.Context()
	get := func() (value string, hit bool) {
		r := c.DoCache(ctx, c.B().Get().Key("cached").Cache(), time.Hour)
		value, err := r.ToString()
		if err != nil && !rueidis.IsRedisNil(err) {
			t.Fatal(err)
		}
		return value, r.IsCacheHit()
	}
	for _, change := range []struct {
		command []string
		value   string // afterwards
	}{
		{[]string{"SET", "cached", "1"}, "1"},
		{[]string{"SET", "cached", "2"}, "2"},
		{[]string{"INCR", "cached"}, "3"},
		{[]string{"RENAME", "cached", "away"}, ""},
		{[]string{"RENAME", "away", "cached"}, "3"},
		{[]string{"EXPIREAT", "cached", "1"}, ""},
		{[]string{"MSET", "cached", "4", "b", "5"}, "4"},
		{[]string{"FLUSHALL"}, ""},
		{[]string{"SET", "cached", "5"}, "5"},
	} {
		if v, err := other.do(change.command...); err != nil || v.isError() {
			t.Fatal(change.command, v, err)
		}
		// The invalidation comes on another connection, and may still be on its way.
		for end := time.Now().Add(watchdog); ; {
			value, _ := get()
			if value == change.value {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("after %q the cache has %q, want %q", change.command, value, change.value)
			}
		}
		if value, hit := get(); value != change.value || !hit {
			t.Errorf("after %q, again: %q, from the cache: %t", change.command, value, hit)
		}
	}
}

// rueidisPipelines lets many goroutines share a connection.
func rueidisPipelines(t *testing.T, c rueidis.Client) {
	const goroutines, each = 50, 40
	ctx := t.Context()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				key, value := fmt.Sprint(g, ":", i), fmt.Sprint(g*i)
				if err := c.Do(ctx, c.B().Set().Key(key).Value(value).Ex(time.Hour).Build()).Error(); err != nil {
					t.Error(err)
					return
				}
				if got, err := c.Do(ctx, c.B().Get().Key(key).Build()).ToString(); err != nil || got != value {
					t.Errorf("GET %s = %q, %v", key, got, err)
				}
				if err := c.Do(ctx, c.B().Incr().Key("all").Build()).Error(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n, err := c.Do(ctx, c.B().Get().Key("all").Build()).AsInt64(); err != nil || n != goroutines*each {
		t.Errorf("%d increments, %v, want %d", n, err, goroutines*each)
	}
}
