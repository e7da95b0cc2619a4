package pagemeta

// loadFence is nothing: amd64 does not reorder loads.
func loadFence() {}

// storeFence is nothing: amd64 does not reorder stores.
func storeFence() {}

// clearDirection clears the direction flag, which a memmove that traps while
// it copies backwards leaves set where there is no AVX.
func clearDirection()
