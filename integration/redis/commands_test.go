package redis

// A commandForm is a command that sequences are made of.
type commandForm struct {
	form        string
	compare     comparison // same if nil
	weight      int        // how often it is drawn, against others; 2 if 0
	seesExpired bool       // keys that have expired and are not deleted yet, too
	iterate     bool       // go on with the cursor of the reply until it is 0
}

// commandForms are what the differential tests know of: to add a command is to
// add its line.
var commandForms = []commandForm{
	{form: "GET key", weight: 6},
	{form: "SET key value", weight: 8},
	{form: "SET key value [NX | XX] [GET] [EX seconds | PX millis | EXAT at | PXAT at-millis | KEEPTTL]", weight: 6},
	{form: "SET key value [GET] {EXAT past | PXAT past}", weight: 1},
	{form: "SET key value {EX negative | PX negative | EXAT negative | PXAT negative}", weight: 1},
	{form: "SETNX key value"},
	{form: "SETEX key seconds value"},
	{form: "PSETEX key millis value"},
	{form: "GETSET key value"},
	{form: "GETDEL key"},
	{form: "GETEX key [EX seconds | PX millis | EXAT at | PXAT at-millis | PERSIST]"},
	{form: "MGET key..."},
	{form: "MSET (key value)..."},
	{form: "MSETNX (key value)..."},
	{form: "APPEND key value"},
	{form: "STRLEN key"},
	{form: "GETRANGE key index index"},
	{form: "SUBSTR key index index", weight: 1},
	{form: "SETRANGE key offset value"},
	{form: "INCR key", weight: 3},
	{form: "DECR key"},
	{form: "INCRBY key integer", weight: 3},
	{form: "DECRBY key integer"},
	{form: "INCRBYFLOAT key float", weight: 3},
	{form: "LCS key key [LEN | IDX] [MINMATCHLEN integer] [WITHMATCHLEN]"},

	{form: "DEL key..."},
	{form: "UNLINK key...", weight: 1},
	{form: "EXISTS key..."},
	{form: "TOUCH key...", weight: 1},
	{form: "TYPE key"},
	{form: "RENAME key key"},
	{form: "RENAMENX key key"},
	{form: "COPY key key [DB database] [REPLACE]"},
	{form: "RANDOMKEY", compare: alike, weight: 1},
	{form: "KEYS pattern", compare: unordered},
	{form: "SCAN 0 [MATCH pattern] COUNT 10000 [TYPE type]", compare: wholeScan, seesExpired: true},
	{form: "SCAN 0 [MATCH pattern] [COUNT {1 | 3}]", compare: badScan, weight: 1, iterate: true, seesExpired: true},
	{form: "SCAN {X | 0 COUNT 0 | 0 NOSUCH | 0 MATCH | 0 COUNT -1 | 0 COUNT X | 0 TYPE}", compare: badScan, weight: 1},
	{form: "DBSIZE", seesExpired: true},
	{form: "{FLUSHDB | FLUSHALL} [ASYNC | SYNC]", weight: 1},

	{form: "EXPIRE key seconds [NX | XX | GT | LT]"},
	{form: "PEXPIRE key millis [NX | XX | GT | LT]"},
	{form: "EXPIREAT key at [NX | XX | GT | LT]"},
	{form: "PEXPIREAT key at-millis [NX | XX | GT | LT]"},
	{form: "{EXPIRE | PEXPIRE} key negative", weight: 1},
	{form: "{EXPIREAT | PEXPIREAT} key past [NX | XX | GT | LT]", weight: 1},
	{form: "TTL key", compare: near(5)},
	{form: "PTTL key", compare: near(5000)},
	{form: "EXPIRETIME key", compare: near(5)},
	{form: "PEXPIRETIME key", compare: near(5000)},
	{form: "PERSIST key"},
	{form: "OBJECT ENCODING key", compare: alike}, // of Redis it tells which commands made the value
	{form: "OBJECT {FREQ key | subcommand | subcommand key}", weight: 1},
	{form: "MEMORY USAGE key", compare: alike, weight: 1, seesExpired: true},

	{form: "MULTI", weight: 4},
	{form: "EXEC", weight: 8},
	{form: "DISCARD", weight: 1},
	{form: "WATCH key...", weight: 4},
	{form: "UNWATCH", weight: 1},

	{form: "PING [anything]", weight: 1},
	{form: "ECHO anything", weight: 1},
	{form: "SELECT database", weight: 1},
	{form: "HELLO [protocol] [SETNAME name]", compare: greeting, weight: 1},
	{form: "RESET", weight: 1},
	{form: "COMMAND {GETKEYS | GETKEYSANDFLAGS} {SET key value [NX] [GET] | MSET (key value)... | RENAME key key | COPY key key | MGET key... | PING key}", weight: 1},
	{form: "CLIENT {GETNAME | SETNAME name | NO-EVICT {ON | OFF | X} | subcommand}", weight: 1},
	{form: "CONFIG {subcommand | GET NOSUCH}", compare: alike, weight: 1},
	{form: "WAIT 0 0", weight: 1},
	{form: "subcommand [anything] [value] [value]", weight: 1},
}
