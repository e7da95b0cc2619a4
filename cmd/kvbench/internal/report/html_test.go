package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
)

// TestHTML compares a page with testdata, its drawings left out, and walks through
// all of it: it is well-formed, refers to nothing outside, and has each plot with
// its table.
func TestHTML(t *testing.T) {
	r := small(t)
	var b bytes.Buffer
	if err := HTML(&b, []Source{{"one.json", r}, {"two.json", r}}); err != nil {
		t.Fatal(err)
	}
	drawing := regexp.MustCompile(`(?s)(<svg role="img" aria-label="[^"]*").*?</svg>`)
	golden(t, "all.html", drawing.ReplaceAll(b.Bytes(), []byte("$1>...</svg>")))

	tags := walk(t, b.String())
	// Three workloads have five plots each, but for one without a second kind of
	// operations less, one has a series, and there are two of opening.
	if want := 2 * (3*5 + 1 + 1 + 2); tags["svg"] != want {
		t.Errorf("%d plots, want %d", tags["svg"], want)
	}
	if tags["details"] != 2*7 || tags["table"] != 2*(7+5) || tags["script"]+tags["img"]+tags["link"] != 0 {
		t.Errorf("elements are %v", tags)
	}
}

// walk counts the elements of a page, and looks at all their attributes.
func walk(t *testing.T, page string) map[string]int {
	t.Helper()
	tags := map[string]int{}
	for d := xml.NewDecoder(strings.NewReader(page)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return tags
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			tags[e.Name.Local]++
			for _, a := range e.Attr {
				if a.Name.Space == "xmlns" || a.Name.Local == "xmlns" {
					continue
				}
				if a.Name.Local == "src" || strings.Contains(a.Value, "://") || a.Name.Local == "href" && !strings.HasPrefix(a.Value, "#") {
					t.Errorf("%s refers to %s", e.Name.Local, a.Value)
				}
			}
		case xml.CharData:
			if text := string(e); strings.Contains(text, "url(") || strings.Contains(text, "@import") {
				t.Errorf("the page loads something: %s", text)
			}
		}
	}
}
