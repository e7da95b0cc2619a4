// Package progress draws the line that shows how far a run is.
package progress

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// redrawEvery is rare enough not to be seen in the figures.
const redrawEvery = 500 * time.Millisecond

// Watch draws a line on out with the title, what now returns of most, and the time
// left, until the function that it returns is called, which removes it. most -1 is a
// line without an end; without out nothing is drawn.
func Watch(out io.Writer, title string, most int64, now func() int64) (stop func()) {
	if out == nil {
		return func() {}
	}
	bar := progressbar.NewOptions64(most,
		progressbar.OptionSetWriter(out),
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
				_ = bar.Set64(now())
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
		_ = bar.Finish()
	}
}
