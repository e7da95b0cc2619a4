package kv

// An Item is a key with its value.
type Item struct{ Key, Value []byte }
