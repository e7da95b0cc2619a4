package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"faultline/store"
)

// A result is what check has found. Verify is nil if it was not come to.
type result struct {
	Dir    string
	Scrub  store.ScrubReport
	Verify *store.Report
	Spaces []store.KeyspaceMetrics
}

func (r *result) print(w io.Writer) error {
	for _, d := range r.Scrub.Damages {
		fmt.Fprintln(w, d.Err)
	}
	if n := r.Scrub.Damaged - uint64(len(r.Scrub.Damages)); n > 0 {
		fmt.Fprintf(w, "and %s more\n", count(n))
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	s := &r.Scrub
	fmt.Fprintf(out, "scrub\t%s pages and %s records of the log, %s in %v\n",
		count(s.Pages), count(s.LogRecords), humanize.IBytes(uint64(s.Bytes)), s.Elapsed.Round(time.Millisecond))
	if v := r.Verify; v != nil {
		fmt.Fprintf(out, "pages\t%s (%s leaves, %s inner, %s free)\n",
			count(v.Pages), count(v.Leaves), count(v.Inner), count(v.Free))
		fmt.Fprintf(out, "height\t%d\n", v.Height)
		fmt.Fprintf(out, "keys\t%s, in order\n", count(v.Keys))
		for _, ks := range r.Spaces {
			fmt.Fprintf(out, "keyspace\t%s: %s keys, %s of them expire\n", showName(ks.Name), count(ks.Keys), count(ks.Expiring))
		}
		fmt.Fprintf(out, "journal\t%s pages restored in memory\n", count(uint64(v.Recovered)))
		fmt.Fprintf(out, "log\t%s records replayed in memory, %s\n", count(v.LogRecords), humanize.IBytes(v.LogBytes))
		if v.Audited {
			fmt.Fprintln(out, "audit\tevery writable page is known as dirty")
		} else {
			fmt.Fprintln(out, "audit\tnot possible: it needs Linux 6.7")
		}
	}
	if r.Scrub.Damaged == 0 {
		fmt.Fprintln(out, "ok")
	} else {
		fmt.Fprintln(out, places(r.Scrub.Damaged))
	}
	return out.Flush()
}

// printJSON prints the result for programs. Sizes are in bytes, times in seconds.
func (r *result) printJSON(w io.Writer) error {
	type damage struct {
		File   string `json:"file"`
		Offset int64  `json:"offset"`
		Error  string `json:"error"`
	}
	damages := make([]damage, len(r.Scrub.Damages))
	for i, d := range r.Scrub.Damages {
		damages[i] = damage{d.File, d.Offset, d.Err.Error()}
	}
	type tree struct {
		Pages      uint64 `json:"pages"`
		Leaves     uint64 `json:"leaves"`
		Inner      uint64 `json:"inner"`
		Free       uint64 `json:"free"`
		Height     int    `json:"height"`
		Keys       uint64 `json:"keys"`
		Recovered  int    `json:"recovered"`
		LogRecords uint64 `json:"log_records"`
		LogBytes   uint64 `json:"log_bytes"`
		Audited    bool   `json:"audited"`
	}
	type keyspace struct {
		Name     string `json:"name"`
		Keys     uint64 `json:"keys"`
		Expiring uint64 `json:"expiring"`
	}
	spaces := make([]keyspace, len(r.Spaces))
	for i, ks := range r.Spaces {
		spaces[i] = keyspace{ks.Name, ks.Keys, ks.Expiring}
	}
	var verified *tree
	if v := r.Verify; v != nil {
		verified = &tree{v.Pages, v.Leaves, v.Inner, v.Free, v.Height, v.Keys, v.Recovered, v.LogRecords, v.LogBytes, v.Audited}
	}
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(struct {
		OK         bool       `json:"ok"`
		Dir        string     `json:"dir"`
		Pages      uint64     `json:"scrubbed_pages"`
		LogRecords uint64     `json:"scrubbed_log_records"`
		Bytes      int64      `json:"scrubbed_bytes"`
		Seconds    float64    `json:"scrub_seconds"`
		Damaged    uint64     `json:"damaged"`
		Damages    []damage   `json:"damages"`
		Tree       *tree      `json:"tree"`
		Keyspaces  []keyspace `json:"keyspaces"`
	}{
		r.Scrub.Damaged == 0, r.Dir, r.Scrub.Pages, r.Scrub.LogRecords, r.Scrub.Bytes, r.Scrub.Elapsed.Seconds(),
		r.Scrub.Damaged, damages, verified, spaces,
	})
}

// showName quotes a name that is not plain; that of the default keyspace is empty.
func showName(name string) string {
	if name == "" {
		return "default"
	}
	if q := strconv.Quote(name); q != `"`+name+`"` || name == "default" {
		return q
	}
	return name
}

func places(n uint64) string {
	if n == 1 {
		return "1 place is damaged"
	}
	return count(n) + " places are damaged"
}

func count(n uint64) string { return humanize.Comma(int64(n)) }
