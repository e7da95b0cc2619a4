//go:build steps

package pagemeta

// onStep is called by a goroutine that is about to make a step, and returns when
// the step may be made. It is set while nothing else runs.
var onStep func(id PageID, s step)

func (*Table) step(id PageID, s step) {
	if onStep != nil {
		onStep(id, s)
	}
}
