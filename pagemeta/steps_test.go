//go:build steps

package pagemeta

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"faultline/uffd"
)

// TestSteps plays the transcripts in testdata/steps: one page, and actors that go
// on to the step that they are told.
//
//	page from=STATE [drop-lock] [no-gate]  a new page. drop-lock: mkwrite lets go of the
//	                                       lock before C and takes it again before D
//	writer NAME by=trap|prepare at=N value=V
//	flusher NAME [rest]                    a round, or what is left of one after its freeze
//	reader NAME                            a look at the page
//	evictor NAME                           an eviction, if the page is Clean then
//	go NAME [to=STEP]                      one step, or up to STEP, or to the end; or until
//	                                       it has to wait
//	last-round                             all have ended: a last round, and what it leaves
//
// The output is where each actor is, the page as the table, the kernel and its
// owner have it, and which invariant is broken, if one is.
func TestSteps(t *testing.T) {
	watchdog(t)
	pm := openPagemap(t)
	datadriven.Walk(t, "testdata/steps", func(t *testing.T, path string) {
		var p *play
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "page" {
				if p != nil {
					p.end(t)
				}
				p = playOf(t, pm, d)
				return p.String()
			}
			return p.command(t, d)
		})
		p.end(t)
	})
}

// playOf returns the play of a page command.
func playOf(t *testing.T, pm *uffd.Pagemap, d *datadriven.TestData) *play {
	var from string
	d.ScanArgs(t, "from", &from)
	for s := range numStates {
		if s.String() != from {
			continue
		}
		p := newPlay(t, pm, s)
		if d.HasArg("drop-lock") {
			dropLock(stepUnprotect, stepDirty)(p)
		}
		p.gateless = d.HasArg("no-gate")
		return p
	}
	d.Fatalf(t, "no state %q", from)
	return nil
}

func (p *play) command(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "writer":
		var by string
		var at, value int
		d.ScanArgs(t, "by", &by)
		d.ScanArgs(t, "at", &at)
		d.ScanArgs(t, "value", &value)
		p.add(d.CmdArgs[0].Key, p.writer(at, byte(value), by == "prepare"))
		return ""
	case "flusher":
		do := p.flusher(1)
		if d.HasArg("rest") {
			do = p.rest
		}
		p.add(d.CmdArgs[0].Key, do)
		return ""
	case "reader":
		p.add(d.CmdArgs[0].Key, p.reader)
		return ""
	case "evictor":
		p.add(d.CmdArgs[0].Key, p.evictor(1))
		return ""
	case "go":
		to := ""
		d.MaybeScanArgs(t, "to", &to)
		p.goOn(t, d, to)
	case "last-round":
		if err := p.checkEnd(); err != nil {
			return fmt.Sprintf("BROKEN: %v\n", err) + p.String()
		}
	default:
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
	return p.String()
}

// goOn lets an actor make one step, or go on until it is before step to, has ended
// or must wait.
func (p *play) goOn(t *testing.T, d *datadriven.TestData, to string) {
	for _, a := range p.actors {
		if a.name != d.CmdArgs[0].Key {
			continue
		}
		for a.free() {
			p.let(a)
			if to == "" || a.at == to || strings.HasPrefix(a.at, to+" ") {
				break
			}
		}
		return
	}
	d.Fatalf(t, "no actor %q", d.CmdArgs[0].Key)
}
