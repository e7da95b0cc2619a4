package report

import "faultline/cmd/kvbench/internal/result"

// A Source is a run that a report shows.
type Source struct {
	Name string // of the file that it comes from; empty if it has just ended
	Run  *result.Run
}
