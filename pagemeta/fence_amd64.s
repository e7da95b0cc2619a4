#include "textflag.h"

// func clearDirection()
TEXT ·clearDirection(SB), NOSPLIT, $0-0
	CLD
	RET
