package redis

import (
	"fmt"
	"strconv"
	"strings"
)

// terminals draw the words of forms. Times are far away or past, so that it does
// not matter when the two servers are asked, and no two commands of a sequence
// have one within ten seconds, so that both agree on which is later.
var terminals map[string]terminal

func init() {
	terminals = map[string]terminal{
		"key":        oneOf(keys...),
		"value":      value,
		"integer":    oneOf("0", "1", "-1", "7", "-40", "1000", "9223372036854775806", "-9223372036854775807"),
		"float":      float,
		"index":      oneOf("0", "1", "2", "5", "-1", "-2", "-5", "30", "-30", "1000"),
		"offset":     oneOf("0", "1", "3", "12", "60", "500"),
		"bit":        oneOf("0", "1"),
		"seconds":    func(s *source) []byte { return times(s, 0, "") },
		"millis":     func(s *source) []byte { return times(s, 0, "000") },
		"at":         func(s *source) []byte { return times(s, year2100, "") },
		"at-millis":  func(s *source) []byte { return times(s, year2100, "000") },
		"past":       func(s *source) []byte { return strconv.AppendInt(nil, int64(1_000_000_000+20*s.step), 10) },
		"negative":   oneOf("-1", "-1000", "-9223372036854775808"),
		"database":   oneOf("0", "1", "0", "9", "15", "16", "-1"),
		"pattern":    oneOf("*", "a*", "?", "*[ab]", "k[^1-3]", "\\*", "[", "", "k*1*", "nothing", "\xff*", "[a-"),
		"type":       oneOf("string", "list", "STRING", "none", "nonsense"),
		"name":       oneOf("worker", "", "two words", "x\n", "\xff"),
		"anything":   oneOf("", "hello", "a b", "\x00\r\n", strings.Repeat("long", 100)),
		"protocol":   oneOf("2", "3", "3", "2", "4", "1", "0", "-3", "x"),
		"subcommand": oneOf("NOSUCH", "", "help me", strings.Repeat("x", 200)),
	}
}

// keys are few, so that commands meet. None is empty, which kvd does not take.
var keys = []string{"a", "b", "k1", "k2", "key:3", "{tag}x", "with space", "\x00\r\n\xff", "*", strings.Repeat("long", 60)}

// odd is what an argument is replaced with, to see errors. There is no number
// among them that would be a time close to now.
var odd = []string{"0", "-1", "-5", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
	"-9223372036854775809", "9223372036854775", "99999999999999999999999", "abc", "1.5", " 1", "1 ", "+1", "-0", "00",
	"1e3", "0x10", "nan", "inf", "-inf", "\x00", "*", "(", "NX", "XX", "GET"}

func oneOf(words ...string) terminal {
	return func(s *source) []byte { return []byte(words[s.below(len(words))]) }
}

// value draws a number as often as not, so that INCR and its like have work.
func value(s *source) []byte {
	switch kind := s.below(16); kind {
	case 0, 1, 2, 3:
		return terminals["integer"](s)
	case 4, 5:
		return float(s)
	case 6:
		return nil
	case 7:
		return []byte(odd[s.below(len(odd))])
	case 8: // about as long as fits into a page, or much longer
		return []byte(strings.Repeat("0123456789", []int{150, 7000}[s.below(16)/15]))
	default:
		return binary(s)
	}
}

// binary draws bytes of few kinds, so that values have parts in common.
func binary(s *source) []byte {
	const alphabet = "abc\x00\r\n\xff0"
	b := make([]byte, s.below(50))
	for i := range b {
		b[i] = alphabet[s.below(len(alphabet))]
	}
	return b
}

func float(s *source) []byte {
	if s.below(2) == 0 {
		return oneOf("1.5", "0.1", "-3.25", "1e3", "3.0", "5.0e-2", "-0.1", "1e-10", "1e17", "inf", "-inf", "1e400")(s)
	}
	return fmt.Appendf(nil, "%d.%03d", s.below(2000)-1000, s.below(1000))
}

const year2100 = 4_102_444_800 // in seconds

// times draws a time in seconds after base, some days to some years, or more than
// 30,000 years. suffix makes milliseconds of it.
func times(s *source, base int64, suffix string) []byte {
	n := base + int64(1+s.below(50))*1_000_000 + 20*int64(s.step)
	if s.oneIn(16) {
		n += 1_000_000_000_000
	}
	return append(strconv.AppendInt(nil, n, 10), suffix...)
}
