package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// defaultPort is that of kvd and of Redis.
const defaultPort = "6379"

// Sizes and times of connections.
const (
	connectTimeout = 5 * time.Second
	replyTimeout   = 30 * time.Second
	pingEvery      = 10 * time.Second // on a connection that is in use by nobody
	bufferBytes    = 64 << 10         // one to read and one to write, for each connection
	poolSize       = 128              // connections for what must not hold up others
)

// parseURL reads a URL of Open. Errors do not show it: it may have a password.
func parseURL(text string) (*options, error) {
	u, err := url.Parse(text)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return nil, fmt.Errorf("url: %w", err)
	}
	o := &options{ClientOption: rueidis.ClientOption{
		Dialer:              net.Dialer{Timeout: connectTimeout, KeepAlive: pingEvery},
		ConnWriteTimeout:    replyTimeout,
		ReadBufferEachConn:  bufferBytes,
		WriteBufferEachConn: bufferBytes,
		BlockingPoolSize:    poolSize,
		DisableCache:        true,
		ForceSingleClient:   true,
		RetryDelay:          retryDelay,
	}}
	o.Username = u.User.Username()
	o.Password, _ = u.User.Password()
	o.keyspace = strings.TrimPrefix(u.Path, "/")
	query := u.Query()
	switch u.Scheme {
	case "kvd", "redis":
	case "kvds", "rediss":
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	case "unix":
		o.InitAddress = []string{u.Path}
		o.keyspace = query.Get("keyspace")
		query.Del("keyspace")
		o.DialCtxFn = func(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		}
	default:
		return nil, fmt.Errorf("url: scheme %q: want kvd, kvds, redis, rediss or unix", u.Scheme)
	}
	for name := range query {
		return nil, fmt.Errorf("url: unknown parameter %q", name)
	}
	if o.InitAddress == nil {
		host, port := u.Hostname(), u.Port()
		if host == "" {
			host = "localhost"
		}
		if port == "" {
			port = defaultPort
		}
		o.InitAddress = []string{net.JoinHostPort(host, port)}
	}
	return o, nil
}
