package ltm

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// redrawEvery is rare enough not to be seen in the figures.
const redrawEvery = 500 * time.Millisecond

// A progress is the line that shows how far a child is.
type progress struct {
	out io.Writer // nil = none
}

func newProgress(out io.Writer) *progress { return &progress{out} }

// watch draws a line with the title and what the counters say, up to all if that
// is not 0, until the function that it returns is called, which removes it.
func (p *progress) watch(title string, all uint64, counters []counter) (stop func()) {
	if p.out == nil {
		return func() {}
	}
	most := int64(all)
	if all == 0 {
		most = -1 // a line without an end
	}
	bar := progressbar.NewOptions64(most,
		progressbar.OptionSetWriter(p.out),
		progressbar.OptionSetDescription(title),
		progressbar.OptionSetWidth(12),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetRenderBlankState(true), // starts its clock
		progressbar.OptionClearOnFinish(),
	)
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(redrawEvery)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				// A line that cannot be drawn is no reason to stop the run.
				_ = bar.Set64(int64(sum(counters)))
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
		_ = bar.Finish()
	}
}
