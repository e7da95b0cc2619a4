// Package table writes figures for people: Markdown tables of numbers with
// three digits.
package table

import (
	"fmt"
	"strings"
)

// Markdown lays rows out in columns that line up as plain text too. The first
// row is the heading; the first textColumns columns are text, the others
// figures, which go to the right.
func Markdown(rows [][]string, textColumns int) string {
	widths := columnWidths(rows)
	var b strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-len(cell))
			if i < textColumns {
				b.WriteString("| " + cell + pad + " ")
			} else {
				b.WriteString("| " + pad + cell + " ")
			}
		}
		b.WriteString("|\n")
		if n == 0 {
			b.WriteString(ruler(widths, textColumns))
		}
	}
	return b.String()
}

func columnWidths(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	return widths
}

// ruler is the line below the heading, which says how columns are aligned.
func ruler(widths []int, textColumns int) string {
	var b strings.Builder
	for i, width := range widths {
		if i < textColumns {
			b.WriteString("|" + strings.Repeat("-", width+2))
		} else {
			b.WriteString("|" + strings.Repeat("-", width+1) + ":")
		}
	}
	return b.String() + "|\n"
}

// Rate writes how many there are of something in a second.
func Rate(perSecond float64) string {
	switch {
	case perSecond >= 999.5e3:
		return Digits(perSecond/1e6) + "M"
	case perSecond >= 999.5:
		return Digits(perSecond/1e3) + "k"
	}
	return Digits(perSecond)
}

// Nanos writes a duration.
func Nanos(n float64) string {
	switch {
	case n >= 999.5e6:
		return Digits(n/1e9) + "s"
	case n >= 999.5e3:
		return Digits(n/1e6) + "ms"
	case n >= 999.5:
		return Digits(n/1e3) + "us"
	}
	return Digits(n) + "ns"
}

// Digits writes three digits, more only before the point.
func Digits(f float64) string {
	switch {
	case f >= 99.95:
		return fmt.Sprintf("%.0f", f)
	case f >= 9.995:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}
