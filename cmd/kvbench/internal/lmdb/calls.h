// LMDB as kvbench calls it: each function is one crossing from Go. All return an error of
// LMDB, 0 for none.
#include <stdint.h>
#include <lmdb.h>

typedef struct {
	MDB_env *env;
	MDB_dbi dbi;
} kv_store;

// KV_CHUNK entries of a scan are fetched at once.
#define KV_CHUNK 64

typedef struct {
	MDB_val keys[KV_CHUNK], values[KV_CHUNK];
	int n;              // that there are
	MDB_cursor_op then; // MDB_NEXT or MDB_PREV: how it goes on
} kv_chunk;

const char *kv_version(void);
int kv_open(const char *path, int sync, kv_store *s);
int kv_put(kv_store *s, const char *key, size_t key_len, const char *value, size_t value_len);
int kv_delete(kv_store *s, const char *key, size_t key_len);

// kv_put_all puts n entries, which follow one another: two lengths of 32 bits, key, value.
int kv_put_all(kv_store *s, const char *entries, size_t n);

// kv_reader makes a transaction for kv_get, which renews and resets it. kv_get adds up a
// byte of each cache line of the value.
int kv_reader(kv_store *s, MDB_txn **txn);
int kv_get(kv_store *s, MDB_txn *txn, const char *key, size_t key_len, uint64_t *sum);

// kv_cursor makes a cursor with a transaction of its own; kv_load places it by op, and
// fetches entries from there on.
int kv_cursor(kv_store *s, MDB_cursor **cursor);
int kv_load(MDB_cursor *cursor, MDB_cursor_op op, const char *key, size_t key_len, kv_chunk *chunk);
void kv_cursor_close(MDB_cursor *cursor);
