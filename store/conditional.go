package store

import "context"

// PutIfAbsent is Put if key is not there, and tells whether it was not. Errors as for
// Put.
func (ks *Keyspace) PutIfAbsent(key, value []byte, d Durability) (put bool, err error) {
	return ks.putIf(false, key, value, d)
}

// PutIfPresent is Put if key is there, and tells whether it was. Errors as for Put.
func (ks *Keyspace) PutIfPresent(key, value []byte, d Durability) (put bool, err error) {
	return ks.putIf(true, key, value, d)
}

func (ks *Keyspace) putIf(present bool, key, value []byte, d Durability) (put bool, err error) {
	_, err = ks.Modify(context.Background(), [][]byte{key}, d, func(tx *Tx) error {
		found, err := tx.Has(key)
		if put = found == present; err != nil || !put {
			return err
		}
		return tx.Put(key, value)
	})
	return put && err == nil, err
}
