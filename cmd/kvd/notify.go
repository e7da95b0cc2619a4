package main

import systemd "github.com/coreos/go-systemd/v22/daemon"

// notify tells systemd of a state, if it is who started the process (Type=notify).
// Nobody can do anything about an error.
func notify(state string) { _, _ = systemd.SdNotify(false, state) }
