package server

// words are the options of a command, read one after another:
//
//	for w := (words{rest: args[2:]}); w.next(); {
//		switch {
//		case w.is("rev"):
//		case w.takes("limit"):
//			w.value()
type words struct {
	now  []byte
	rest [][]byte
}

// next goes on to the next word, if there is one.
func (w *words) next() bool {
	if len(w.rest) == 0 {
		return false
	}
	w.now, w.rest = w.rest[0], w.rest[1:]
	return true
}

// is tells whether the word is name, in any case.
func (w *words) is(name string) bool { return isWord(w.now, name) }

// takes tells whether the word is name and another one follows.
func (w *words) takes(name string) bool { return len(w.rest) > 0 && isWord(w.now, name) }

// value takes the word that follows.
func (w *words) value() []byte {
	w.next()
	return w.now
}
