package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// An Option changes how Open connects.
type Option func(*options) error

// options are a URL and the Options, put together.
type options struct {
	rueidis.ClientOption
	keyspace string
	cacheTTL time.Duration // 0: no cache
}

// WithPassword sets the password that connections send, and with it the user that
// they send it for, if user is not empty.
func WithPassword(user, password string) Option {
	return func(o *options) error {
		o.Username, o.Password = user, password
		return nil
	}
}

// WithPasswordFile is WithPassword for a password that is the first line of a file.
// The file is read for each connection, so a password may change while the client
// runs.
func WithPasswordFile(user, name string) Option {
	return func(o *options) error {
		read := func() (rueidis.AuthCredentials, error) {
			text, err := os.ReadFile(name)
			line, _, _ := strings.Cut(string(text), "\n")
			line = strings.TrimSuffix(line, "\r")
			if err == nil && line == "" {
				err = fmt.Errorf("%s: the first line is empty", name)
			}
			return rueidis.AuthCredentials{Username: user, Password: line}, err
		}
		if _, err := read(); err != nil {
			return fmt.Errorf("password: %w", err)
		}
		o.AuthCredentialsFn = func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) { return read() }
		return nil
	}
}

// WithTLS makes connections use TLS with this configuration: for a certificate of the
// client, or for an authority of your own. A kvds:// URL alone trusts the authorities
// of the system. A nil ServerName becomes the host of the URL.
func WithTLS(c *tls.Config) Option {
	return func(o *options) error {
		if c == nil {
			return errors.New("TLS without a configuration")
		}
		name := ""
		if o.TLSConfig != nil {
			name = o.TLSConfig.ServerName
		}
		o.TLSConfig = c.Clone()
		if o.TLSConfig.ServerName == "" {
			o.TLSConfig.ServerName = name
		}
		return nil
	}
}

// WithTimeout sets how long a connection may take to be made, and how long a server
// may be silent while a reply is due before the connection is given up. Writes that
// wait for the disk, ranges that are deleted and values of more than a MiB are not bounded by it, but by
// the context. Default: 30 s, and 5 s to connect.
func WithTimeout(d time.Duration) Option {
	return func(o *options) error {
		if d <= 0 {
			return fmt.Errorf("timeout of %v", d)
		}
		o.ConnWriteTimeout, o.Dialer.Timeout = d, min(d, o.Dialer.Timeout)
		return nil
	}
}

// WithCache keeps what Get has returned in memory, up to bytes of it for each
// connection, and returns it again for ttl at most. The server says when a key
// has changed (CLIENT TRACKING), so a Get may show what has been replaced only for as
// long as that message takes.
func WithCache(bytes int, ttl time.Duration) Option {
	return func(o *options) error {
		if bytes <= 0 || ttl <= 0 {
			return fmt.Errorf("cache of %d bytes for %v", bytes, ttl)
		}
		o.DisableCache, o.CacheSizeEachConn, o.cacheTTL = false, bytes, ttl
		return nil
	}
}
