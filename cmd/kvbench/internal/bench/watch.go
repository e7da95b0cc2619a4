package bench

import (
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/series"
)

// watchEvery is the length of an interval of a series: a second is most of a short
// phase.
const watchEvery = 500 * time.Millisecond

// fewest is how many intervals make a series that is worth a look.
const fewest = 3

// watch collects what clients do over time. What it returns ends that.
func (r *run) watch(clients []*client, db engine.DB) (stop func() (figure.Series, error), err error) {
	var recorders []*series.Recorder
	for _, c := range clients {
		c.watch = series.NewRecorder()
		recorders = append(recorders, c.watch)
	}
	collector, err := series.NewCollector(recorders, engine.RoundsOf(db), r.meter.Read)
	if err != nil {
		return nil, err
	}
	over, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- collector.Until(over, watchEvery) }()
	return func() (figure.Series, error) {
		close(over)
		err := <-ended
		all := collector.Series()
		if len(all) < fewest {
			all = nil
		}
		return all, err
	}, nil
}
