package client

import (
	"fmt"

	"github.com/redis/rueidis"

	"faultline/kv"
)

// atLeast is a lower bound as KV.RANGE has it, and ZRANGE BYLEX; nil is none.
func atLeast(lower []byte) string {
	if lower == nil {
		return "-"
	}
	return "[" + string(lower)
}

// below is an upper bound; nil is none.
func below(upper []byte) string {
	if upper == nil {
		return "+"
	}
	return "(" + string(upper)
}

// items are keys and values by turns, as servers of RESP2 have them, or pairs.
func items(reply []rueidis.RedisMessage) ([]kv.Item, error) {
	if len(reply)%2 != 0 {
		return nil, fmt.Errorf("server: %d keys and values", len(reply))
	}
	items := make([]kv.Item, 0, len(reply)/2)
	for i := 0; i < len(reply); i += 2 {
		key, err := reply[i].AsBytes()
		if err != nil {
			return nil, err
		}
		value, err := reply[i+1].AsBytes()
		if err != nil {
			return nil, err
		}
		items = append(items, kv.Item{Key: key, Value: value})
	}
	return items, nil
}
