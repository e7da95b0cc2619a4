package pagemeta

// loadFence keeps the loads before it before the loads after it.
func loadFence()

// clearDirection is nothing: arm64 has no direction flag.
func clearDirection() {}
