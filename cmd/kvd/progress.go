package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// redrawEvery is seldom enough to cost nothing.
const redrawEvery = 250 * time.Millisecond

// A progress is the line that shows how far a command is.
type progress struct {
	out io.Writer // nil: nobody is looking
}

// progressOn draws on w if that is a terminal.
func progressOn(w io.Writer) progress {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return progress{f}
	}
	return progress{}
}

// bytes returns what draws a line with the title, the bytes done and the time left,
// and what removes it.
func (p progress) bytes(title string) (show func(done, total int64), stop func()) {
	if p.out == nil {
		return func(int64, int64) {}, func() {}
	}
	bar := p.bar(1, title, progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true), progressbar.OptionSetPredictTime(true))
	show = func(done, total int64) {
		bar.ChangeMax64(max(total, 1))
		_ = bar.Set64(done) // a line that cannot be drawn is no reason to stop
	}
	return show, func() { _ = bar.Finish() }
}

// busy draws a line with the title, until stop removes it.
func (p progress) busy(title string) (stop func()) {
	if p.out == nil {
		return func() {}
	}
	bar := p.bar(-1, title)
	return func() { _ = bar.Finish() }
}

func (p progress) bar(total int64, title string, more ...progressbar.Option) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, append([]progressbar.Option{
		progressbar.OptionSetWriter(p.out),
		progressbar.OptionSetDescription(title),
		progressbar.OptionSetWidth(12),
		progressbar.OptionThrottle(redrawEvery),
		progressbar.OptionSetRenderBlankState(true), // starts its clock
		progressbar.OptionClearOnFinish(),
	}, more...)...)
}
