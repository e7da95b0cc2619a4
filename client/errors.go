package client

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"faultline/kv"
)

// kinds are the errors of package kv that a server sends with their texts. kvd puts
// the text of the store's error behind the code of Redis.
var kinds = []error{
	kv.ErrEmptyKey, kv.ErrTooLarge, kv.ErrFull, kv.ErrNoSpace, kv.ErrReadOnly, kv.ErrStopped, kv.ErrCorrupt,
	kv.ErrNoKeyspace,
}

// codes are what the codes of Redis mean where no text says more; rueidis leaves out
// ERR.
var codes = []struct {
	prefix string
	kind   error
}{
	{"MISCONF ", kv.ErrStopped},
	{"OOM ", kv.ErrFull},
	{"READONLY ", kv.ErrReadOnly},
	{"LOADING ", errNotServing},
	{"DB index is out of range", kv.ErrNoKeyspace},
	{"unknown command", errors.ErrUnsupported},
	{"Protocol error: invalid bulk length", kv.ErrTooLarge},
	{"string exceeds maximum allowed size", kv.ErrTooLarge},
}

// err gives an error of rueidis its place among those of package kv.
func (l *link) err(err error) error {
	var reply *rueidis.RedisError
	switch {
	case err == nil:
		return nil
	case rueidis.IsRedisNil(err):
		return kv.ErrNotFound
	case errors.Is(err, rueidis.ErrClosing) && l.shared.closed.Load():
		return kv.ErrClosed
	case errors.As(err, &reply):
		if kind := kindOf(reply.Error()); kind != nil {
			return fmt.Errorf("%w: server: %w", kind, err)
		}
		return fmt.Errorf("server: %w", err)
	}
	return err
}

// kindOf returns the error of package kv that a reply means, or nil.
func kindOf(reply string) error {
	for _, kind := range kinds {
		if strings.Contains(reply, kind.Error()) {
			return kind
		}
	}
	for _, c := range codes {
		if strings.HasPrefix(reply, c.prefix) {
			return c.kind
		}
	}
	return nil
}

// isLoading tells whether the server has refused a command since it is starting.
func isLoading(err error) bool {
	var reply *rueidis.RedisError
	return errors.As(err, &reply) && reply.IsLoading()
}
