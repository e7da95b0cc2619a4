package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"faultline/server"
)

// prepareDir makes the directory of the store, for its owner only, and gives it to id,
// which may be nil. One that everybody can write to is refused: whoever put files there
// would decide what kvd reads.
func prepareDir(dir string, id *identity) error {
	st, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if id == nil {
			return nil
		}
		return os.Chown(dir, id.uid, id.gid)
	}
	if err != nil {
		return err
	}
	if st.IsDir() && st.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("open %s: everybody can write to this directory (mode %04o): chmod 700 %s", dir, st.Mode().Perm(), dir)
	}
	return nil
}

// readSecret returns a file that only its owner and his group can read.
func readSecret(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if perm := st.Mode().Perm(); perm&0o007 != 0 {
		return nil, fmt.Errorf("%s: others can read it (mode %04o): chmod 600 %s", name, perm, name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	if err == nil && len(b) > maxSecretBytes {
		err = fmt.Errorf("%s: longer than %d bytes", name, maxSecretBytes)
	}
	return b, err
}

// maxSecretBytes is more than any password or key.
const maxSecretBytes = 64 << 10

// readPassword reads a file that has a password, and perhaps the end of its line.
func readPassword(name string) (*server.Secret, error) {
	b, err := readSecret(name)
	if err != nil {
		return nil, fmt.Errorf("requirepass-file: %w", err)
	}
	if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
		return nil, fmt.Errorf("requirepass-file: %s: no password in it", name)
	}
	secret := server.NewSecret(b)
	clear(b)
	return &secret, nil
}
