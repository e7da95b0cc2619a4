#include "textflag.h"

// func loadFence()
TEXT ·loadFence(SB), NOSPLIT, $0-0
	DMB	$0x9 // ISHLD: loads before loads and stores
	RET

// func storeFence()
TEXT ·storeFence(SB), NOSPLIT, $0-0
	DMB	$0xa // ISHST: stores before stores
	RET
