package bench

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// redrawEvery is rare enough not to be seen in the figures.
const redrawEvery = 250 * time.Millisecond

// A progress is the line that shows how far a run is.
type progress struct {
	out io.Writer // nil = none
}

func newProgress(out io.Writer) *progress { return &progress{out} }

// watch draws a line with the title and the time left, until the function that
// it returns is called, which removes it.
func (p *progress) watch(title string, ops int, clients []*client) (stop func()) {
	if p.out == nil {
		return func() {}
	}
	bar := progressbar.NewOptions(ops,
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
				_ = bar.Set64(published(clients))
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
		_ = bar.Finish()
	}
}

func published(clients []*client) (n int64) {
	for _, c := range clients {
		n += c.published.Load()
	}
	return n
}
