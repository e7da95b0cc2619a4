// Package admin is the HTTP server for whoever runs kvd, and for the programs that
// watch it. It tells and changes nothing:
//
//	/metrics       for Prometheus
//	/healthz       200 while the process lives
//	/readyz        200 while clients can read and write, else 503 and why: the store
//	               recovers, or it has stopped itself
//	/debug/pprof/  profiles of Go
//
// There is no password: it is for a loopback address, or for a network in which nobody
// does harm. A web page that a browser on this machine has opened could ask under a name
// that resolves to the loopback address; such a request names a host that is neither an
// address nor localhost, and is refused.
package admin
