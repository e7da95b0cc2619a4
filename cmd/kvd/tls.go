package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// Certificates are the files of TLS, as they were read last.
type certificates struct {
	*config
	now atomic.Pointer[tls.Config]
}

// load reads the files. If one is wrong what was read before stays.
func (c *certificates) load() error {
	key, err := readSecret(string(c.tlsKeyFile))
	if err != nil {
		return fmt.Errorf("tls-key-file: %w", err)
	}
	chain, err := os.ReadFile(string(c.tlsCertFile))
	if err != nil {
		return fmt.Errorf("tls-cert-file: %w", err)
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return fmt.Errorf("tls-cert-file %s, tls-key-file %s: %w", c.tlsCertFile, c.tlsKeyFile, err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}
	if c.tlsCACertFile != "" {
		ca, err := os.ReadFile(string(c.tlsCACertFile))
		if err != nil {
			return fmt.Errorf("tls-ca-cert-file: %w", err)
		}
		conf.ClientCAs = x509.NewCertPool()
		if !conf.ClientCAs.AppendCertsFromPEM(ca) {
			return fmt.Errorf("tls-ca-cert-file %s: no certificate in it", c.tlsCACertFile)
		}
		conf.ClientAuth = map[string]tls.ClientAuthType{
			"yes": tls.RequireAndVerifyClientCert, "optional": tls.VerifyClientCertIfGiven, "no": tls.NoClientCert,
		}[c.tlsAuthClients]
	}
	c.now.Store(conf)
	return nil
}

// server returns the configuration of a listener: each handshake has the files as they
// were read last.
func (c *certificates) server() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.now.Load(), nil },
	}
}

// checkTLS finds what no setting of TLS shows alone.
func (c *config) checkTLS() error {
	wanted := len(tcpAddresses(c.tlsListen, c.bind, c.tlsPort)) > 0
	switch have := c.tlsCertFile != "" && c.tlsKeyFile != ""; {
	case wanted && !have:
		return usageError{errors.New("TLS needs tls-cert-file and tls-key-file")}
	case !wanted && (c.tlsCertFile != "" || c.tlsKeyFile != "" || c.tlsCACertFile != ""):
		return usageError{errors.New("there are files for TLS, but neither tls-port nor tls-listen")}
	case wanted && c.tlsCACertFile == "" && c.origin["tls-auth-clients"] != "" && c.tlsAuthClients != "no":
		return usageError{errors.New("tls-auth-clients needs tls-ca-cert-file")}
	}
	return nil
}
