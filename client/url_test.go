package client

import (
	"strings"
	"testing"
)

// TestURL reads all forms, and refuses what it does not know.
func TestURL(t *testing.T) {
	for url, want := range map[string]string{
		"kvd://":                            "localhost:6379  ",
		"kvd://[::1]:7/3":                   "[::1]:7 3 ",
		"redis://:secret@host/0":            "host:6379 0 :secret",
		"kvds://me:secret@host:1":           "host:1  me:secret TLS host",
		"rediss://host":                     "host:6379  TLS host",
		"unix:///run/kvd/s":                 "/run/kvd/s  ",
		"unix://:secret@/run/s?keyspace=12": "/run/s 12 :secret",
	} {
		o, err := parseURL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		got := o.InitAddress[0] + " " + o.keyspace + " "
		if o.Password != "" {
			got += o.Username + ":" + o.Password
		}
		if o.TLSConfig != nil {
			got = strings.TrimSuffix(got, " ") + " TLS " + o.TLSConfig.ServerName
		}
		if got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	for _, url := range []string{
		"", "host:6379", "http://host", "kvd://:secret@host:port", "kvd://:secret@host/?tls=1", "kvd://:sec%ret@host",
	} {
		_, err := parseURL(url)
		if err == nil {
			t.Errorf("%q is taken", url)
			continue
		}
		if strings.Contains(err.Error(), "sec") {
			t.Errorf("%q: the error has the password: %v", url, err)
		}
	}
}
