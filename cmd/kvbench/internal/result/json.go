package result

import (
	"encoding/json"
	"fmt"
	"io"
)

// Format is the number of the JSON form. It is raised when a reader of the older
// form would take a figure for another.
const Format = 1

// Write writes the run as JSON.
func (r *Run) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Read reads what Write has written.
func Read(from io.Reader) (*Run, error) {
	r := new(Run)
	if err := json.NewDecoder(from).Decode(r); err != nil {
		return nil, fmt.Errorf("decode results: %w", err)
	}
	if r.Format != Format {
		return nil, fmt.Errorf("results are of format %d: want %d", r.Format, Format)
	}
	return r, nil
}
