// Package report writes the results of kvbench for people and for programs.
//
// All forms are made of a result.Run alone, so that each can be made later, of its
// JSON form. Markdown and HTML show rows: a workload on an engine over all
// repetitions, with the spread of what differs from one to the next.
package report
