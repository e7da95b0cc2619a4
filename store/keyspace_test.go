package store

// mainKey is the tree's key for key, of a default keyspace that was never cleared.
func mainKey(key []byte) []byte { return append([]byte{mainSlot, 0}, key...) }
