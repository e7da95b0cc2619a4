package pagemeta

// loadFence keeps the loads before it before the loads after it.
func loadFence()

// storeFence keeps the stores before it before the stores after it. The exclusive
// store that a compare-and-swap may end with does not, acquire though it is.
func storeFence()

// clearDirection is nothing: arm64 has no direction flag.
func clearDirection() {}
