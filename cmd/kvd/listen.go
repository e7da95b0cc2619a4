package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// tcpAddresses returns where to listen: the addresses that were named with their ports,
// or else each host with the port, of which 0 is none.
func tcpAddresses(named addresses, bind hosts, port int) []string {
	if len(named) > 0 || port == 0 {
		return named
	}
	var all []string
	for _, host := range bind {
		all = append(all, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	return all
}

// listenTCP listens on all addresses or on none. A client that has been silent for
// keepAlive is asked whether it is there, three times; 0 is never.
func listenTCP(addrs []string, keepAlive time.Duration) ([]net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: keepAlive > 0, Idle: keepAlive, Interval: keepAlive / 3, Count: 3, // as Redis
	}}
	if keepAlive == 0 {
		config.KeepAlive = -1
	}
	var all []net.Listener
	for _, addr := range addrs {
		l, err := config.Listen(context.Background(), "tcp", addr)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// listenUnix makes a socket with permissions perm, of id if it is not nil. What a process
// has left that was killed goes first. The mask of the process keeps others out until
// the permissions are set.
func listenUnix(name string, perm mode, id *identity) (net.Listener, error) {
	if err := removeStale(name); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, err
	}
	if id != nil {
		err = os.Chown(name, id.uid, id.gid)
	}
	if err == nil {
		err = os.Chmod(name, os.FileMode(perm))
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStale removes a socket on which nobody listens.
func removeStale(name string) error {
	st, err := os.Lstat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("listen unix %s: there is a file, and it is no socket", name)
	}
	c, err := net.Dial("unix", name)
	if err == nil {
		c.Close()
		return fmt.Errorf("listen unix %s: another process listens there", name)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(name)
}

func closeAll(all []net.Listener) {
	for _, l := range all {
		l.Close()
	}
}

// isTLS tells whether l has been made by tls.NewListener.
func isTLS(l net.Listener) bool {
	_, plain := l.(*net.TCPListener)
	return !plain && l.Addr().Network() == "tcp"
}

// isLocal tells whether only this machine reaches l.
func isLocal(l net.Listener) bool {
	tcp, ok := l.Addr().(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}
