package bench

// An action is what an operation of YCSB does.
type action int

const (
	read action = iota
	update
	insert
	scan
	modify
)

// actions are the parts of a workload.
var actions = [...]part{
	read: {name: "read"}, update: {name: "update", writes: true}, insert: {name: "insert", writes: true},
	scan: {name: "scan"}, modify: {name: "read-modify-write", writes: true},
}

// A share says how many of 100 operations do an action.
type share struct {
	action  action
	percent uint64
}

// maxScanEntries is YCSB's maxscanlength; the lengths are uniform from 1 on.
const maxScanEntries = 100

// A Distribution says which records YCSB's operations choose.
type Distribution string

// What YCSB calls requestdistribution. The empty one is what each workload has by
// itself: zipfian, and latest for D.
const (
	OwnDistribution Distribution = ""
	Uniform         Distribution = "uniform"
	Zipfian         Distribution = "zipfian"
	Latest          Distribution = "latest"
)

// Distributions are all but the empty one.
var Distributions = []Distribution{Uniform, Zipfian, Latest}

// ycsb makes a workload of shares, whose records are chosen by the distribution own
// unless the run has another.
func ycsb(name string, ops func(*Config, int) int, own Distribution, shares ...share) kind {
	k := kind{name: name, hashed: true, draws: true, paced: true, ops: ops}
	for _, s := range shares {
		k.parts = append(k.parts, actions[s.action])
		k.writes = k.writes || actions[s.action].writes
		if s.action == insert {
			k.insertPercent = int(s.percent)
		}
	}
	if !k.writes && len(shares) == 1 {
		k.every = everyGet
	}
	k.run = func(c *client) error { return c.ycsb(shares, own) }
	return k
}

// ycsb does the shares by turns that a coin decides.
func (c *client) ycsb(shares []share, own Distribution) error {
	choose := c.chooser(own)
	return c.each(func(int) error {
		side := c.coin.Next()
		c.part = 0
		for side >= shares[c.part].percent {
			side -= shares[c.part].percent
			c.part++
		}
		switch shares[c.part].action {
		case read:
			return c.get(choose())
		case update:
			return c.put(choose())
		case insert:
			return c.insert()
		case scan:
			return c.scan(choose(), int(c.length.Next())+1)
		}
		record := choose() // modify
		if err := c.get(record); err != nil {
			return err
		}
		return c.put(record)
	})
}

// chooser returns what draws the number of a record that is there.
func (c *client) chooser(own Distribution) func() uint64 {
	d := c.distribution
	if d == OwnDistribution {
		d = own
	}
	switch d {
	case Uniform:
		return c.there(c.draw.Next)
	case Zipfian:
		return c.there(c.scrambled.Next)
	case Latest:
		return func() uint64 { return c.latest.Next(c.inserts.known()) }
	}
	panic("bench: unknown distribution " + string(d))
}

// there draws until it has a record that is there, as YCSB does: the draws are of all
// that the run may add, too.
func (c *client) there(next func() uint64) func() uint64 {
	return func() uint64 {
		for {
			if record := next(); record < c.inserts.known() {
				return record
			}
		}
	}
}

// insert adds a record.
func (c *client) insert() error {
	record := c.inserts.begin()
	if err := c.put(record); err != nil {
		return err
	}
	c.inserts.end(record)
	return nil
}
