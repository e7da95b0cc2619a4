package memdisk

import (
	"hash/maphash"
	"maps"
	"slices"
)

// Bytes returns the contents of a file, which the caller may change in place; nil
// if there is none. What it changes counts as durable after Settle.
func (m *FS) Bytes(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.names[name]; f != nil {
		return f.now.whole()
	}
	return nil
}

// Durable returns what of a file's contents is durable.
func (m *FS) Durable(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := m.names[name].durable.clone()
	return left.whole()
}

// Put makes a file of data, durable, in place of what had the name; with nil data
// there is none.
func (m *FS) Put(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if data == nil {
		delete(m.names, name)
		delete(m.durable, name)
		return
	}
	var c content
	c.write(0, data)
	f := newInode(c)
	m.names[name], m.durable[name] = f, f
}

// Settle makes everything durable as it is.
func (m *FS) Settle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.names {
		f.settle()
	}
	m.durable, m.steps = maps.Clone(m.names), nil
}

// SettleFile makes the bytes of a file durable as they are.
func (m *FS) SettleFile(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names[name].settle()
}

func (f *inode) settle() {
	f.absorb()
	f.durable, f.pending = f.now.clone(), nil
}

// Forget brings a file back to what of it was durable.
func (m *FS) Forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.names[name]
	f.now, f.pending, f.mapped = f.durable.clone(), nil, nil
}

// Names returns the paths of all files, sorted.
func (m *FS) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.names))
}

var seed = maphash.MakeSeed()

// Hash returns a number that two file systems of this process have in common, if
// they have the same files with the same bytes, and the same of it is durable and
// was written since.
func (m *FS) Hash() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var h maphash.Hash
	h.SetSeed(seed)
	for _, names := range []map[string]*inode{m.names, m.durable} {
		for _, name := range slices.Sorted(maps.Keys(names)) {
			maphash.WriteComparable(&h, name)
			names[name].hash(&h)
		}
		if maps.Equal(m.names, m.durable) {
			break
		}
	}
	return h.Sum64()
}

func (f *inode) hash(h *maphash.Hash) {
	f.absorb()
	f.now.hash(h)
	if f.durable.size != f.now.size || !slices.Equal(f.durable.blocks, f.now.blocks) { // not shared
		f.durable.hash(h)
	}
	for _, w := range f.pending {
		maphash.WriteComparable(h, w.off)
		h.Write(w.data)
	}
}
