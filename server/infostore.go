package server

import (
	"reflect"
	"strings"
	"time"
	"unicode"
)

// infoStore shows every number of store.Metrics under its own name.
func (s *Server) infoStore(add func(string, any)) {
	if !s.Ready() {
		return
	}
	addFields("store", reflect.ValueOf(s.db.Metrics()), add)
}

func addFields(prefix string, v reflect.Value, add func(string, any)) {
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		name, field := prefix+"_"+snake(v.Type().Field(i).Name), v.Field(i)
		switch d, isDuration := field.Interface().(time.Duration); {
		case isDuration:
			add(name+"_usec", d.Microseconds())
		case field.Kind() == reflect.Struct:
			addFields(name, field, add)
		case field.CanInt() || field.CanUint() || field.CanFloat() || field.Kind() == reflect.Bool:
			add(name, field.Interface())
		}
	}
}

// snake turns LogBytes and LSN into log_bytes and lsn.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		starts := i > 0 && unicode.IsUpper(r) &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if starts {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
