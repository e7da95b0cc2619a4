package redis

import (
	"fmt"
	"regexp"
	"strings"

	"pgregory.net/rapid"
)

// A form is the syntax of a command, in the notation of Redis's documentation:
//
//	SET key value [NX | XX] [EX seconds | KEEPTTL]
//
// Words in lower case are drawn from the table of terminals, others stand for
// themselves. [a | b] is one of them or none, {a | b} is one of them, and what
// stands before ... is there up to four times.
type form interface {
	// draw appends words of this form to args.
	draw(s *source, args [][]byte) [][]byte
}

// A source is what words are drawn from.
type source struct {
	t    *rapid.T
	step int // number of the command in its sequence
}

// below returns a number of 0 to n-1. Shrinking makes it smaller.
func (s *source) below(n int) int { return rapid.IntRange(0, n-1).Draw(s.t, "n") }

// oneIn is true once in n times, and false when shrunk.
func (s *source) oneIn(n int) bool { return s.below(n) == n-1 }

type (
	literal  []byte
	terminal func(s *source) []byte
	sequence []form
	choice   []form
	optional struct{ form }
	repeated struct{ form }
)

func (l literal) draw(_ *source, args [][]byte) [][]byte { return append(args, l) }

func (d terminal) draw(s *source, args [][]byte) [][]byte { return append(args, d(s)) }

func (f sequence) draw(s *source, args [][]byte) [][]byte {
	for _, part := range f {
		args = part.draw(s, args)
	}
	return args
}

func (f choice) draw(s *source, args [][]byte) [][]byte {
	return f[s.below(len(f))].draw(s, args)
}

func (f optional) draw(s *source, args [][]byte) [][]byte {
	if s.below(2) == 0 {
		return args
	}
	return f.form.draw(s, args)
}

func (f repeated) draw(s *source, args [][]byte) [][]byte {
	for range 1 + s.below(4) {
		args = f.form.draw(s, args)
	}
	return args
}

var formTokens = regexp.MustCompile(`\.\.\.|[\[\]{}|()]|[^\s\[\]{}|().]+`)

// A formParser reads a form. What it does not understand is a mistake in the
// table, and panics.
type formParser struct{ tokens []string }

func parseForm(text string) form {
	p := &formParser{tokens: formTokens.FindAllString(text, -1)}
	f := p.choice()
	if len(p.tokens) > 0 {
		panic(fmt.Sprintf("form %q: left over: %q", text, p.tokens))
	}
	return f
}

func (p *formParser) choice() form {
	f := choice{p.sequence()}
	for p.accept("|") {
		f = append(f, p.sequence())
	}
	if len(f) == 1 {
		return f[0]
	}
	return f
}

func (p *formParser) sequence() form {
	var f sequence
	for len(p.tokens) > 0 && !strings.Contains("|]})", p.tokens[0]) {
		part := p.part()
		if p.accept("...") {
			part = repeated{part}
		}
		f = append(f, part)
	}
	return f
}

func (p *formParser) part() form {
	token := p.tokens[0]
	p.tokens = p.tokens[1:]
	switch {
	case token == "[":
		return optional{p.until("]")}
	case token == "{":
		return p.until("}")
	case token == "(":
		return p.until(")")
	case token == strings.ToUpper(token):
		return literal(token)
	}
	t, ok := terminals[token]
	if !ok {
		panic("no terminal " + token)
	}
	return t
}

func (p *formParser) until(end string) form {
	f := p.choice()
	if !p.accept(end) {
		panic("no " + end)
	}
	return f
}

func (p *formParser) accept(token string) bool {
	if len(p.tokens) == 0 || p.tokens[0] != token {
		return false
	}
	p.tokens = p.tokens[1:]
	return true
}

// keywords returns the words of forms that stand for themselves, once each.
func keywords(forms []string) []string {
	var words []string
	seen := map[string]bool{}
	for _, f := range forms {
		for _, token := range formTokens.FindAllString(f, -1) {
			if token == strings.ToUpper(token) && token[0] >= 'A' && !strings.Contains("[]{}|", token) && !seen[token] {
				seen[token] = true
				words = append(words, token)
			}
		}
	}
	return words
}
