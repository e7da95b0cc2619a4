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

// Within turns most and now into those of work that also ends when limit is over, for
// Watch: whichever is nearer to its end counts. limit 0 is none, most -1 is not known.
func Within(limit time.Duration, most int64, now func() int64) (int64, func() int64) {
	if limit == 0 {
		return most, now
	}
	const all = 1000
	start := time.Now()
	return all, func() int64 {
		part := float64(time.Since(start)) / float64(limit)
		if most > 0 {
			part = max(part, float64(now())/float64(most))
		}
		return int64(all * min(part, 1))
	}
}
