package table

import "testing"

// TestMarkdown compares a table with its golden text.
func TestMarkdown(t *testing.T) {
	got := Markdown([][]string{
		{"workload", "engine", "ops/s", "p50"},
		{"fillseq", "faultline", "1.20M", "812ns"},
		{"fillsync", "pebble", "5.05k", "194us"},
	}, 2)
	want := `| workload | engine    | ops/s |   p50 |
|----------|-----------|------:|------:|
| fillseq  | faultline | 1.20M | 812ns |
| fillsync | pebble    | 5.05k | 194us |
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestFigures checks figures on both sides of each change of unit or digits.
func TestFigures(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{Rate(0), "0.00"},
		{Rate(4.25), "4.25"},
		{Rate(42.25), "42.2"},
		{Rate(999.4), "999"},
		{Rate(999.6), "1.00k"},
		{Rate(5_049), "5.05k"},
		{Rate(99_960), "100k"},
		{Rate(999_400), "999k"},
		{Rate(999_600), "1.00M"},
		{Rate(17_930_000), "17.9M"},
		{Nanos(0.4), "0.40ns"},
		{Nanos(812), "812ns"},
		{Nanos(1_000), "1.00us"},
		{Nanos(148_300), "148us"},
		{Nanos(2_100_000), "2.10ms"},
		{Nanos(3_000_000_000), "3.00s"},
	} {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
}
