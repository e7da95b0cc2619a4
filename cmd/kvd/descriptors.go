package main

import (
	"fmt"
	"math"
)

// ownDescriptors are the descriptors that clients cannot have: those of the store, whose
// log must be able to open its next segment whatever clients do, of the listeners, of a
// connection that is being refused, of the admin's clients, and of Go. Redis keeps 32 for
// itself; a store has more files.
const ownDescriptors = 128

// mostClients returns how many clients a limit of open files leaves room for, which may
// be none.
func mostClients(limit uint64) int {
	return int(min(max(limit, ownDescriptors)-ownDescriptors, math.MaxInt32))
}

// boundClients lowers maxclients to what the limit of open files has room for: a store
// that is out of descriptors stops. Go has raised the limit as far as it may.
func (d *daemon) boundClients() error {
	limit, err := openFileLimit()
	if err != nil {
		return err
	}
	d.mostClients = mostClients(limit)
	if d.mostClients < 1 {
		return fmt.Errorf("the limit of %d open files leaves none for clients: want %d at least (ulimit -n, or LimitNOFILE in the unit)",
			limit, ownDescriptors+1)
	}
	if d.maxClients > d.mostClients {
		d.log.Warn("maxclients is lowered: the limit of open files has no room for more (ulimit -n, or LimitNOFILE in the unit)",
			"asked", d.maxClients, "maxclients", d.mostClients, "open_files", limit, "needed", d.maxClients+ownDescriptors)
		d.maxClients = d.mostClients
	}
	return nil
}
