//go:build lmdb && cgo

#include <string.h>
#include "calls.h"

#define MAP_BYTES (64UL << 30)
#define MAX_READERS 2048
#define CACHE_LINE 64

const char *kv_version(void) { return mdb_version(NULL, NULL, NULL); }

static MDB_val val(const char *p, size_t n) {
	MDB_val v = {n, (void *)p};
	return v;
}

int kv_open(const char *path, int sync, kv_store *s) {
	MDB_txn *txn;
	int err = mdb_env_create(&s->env);
	if (err) return err;
	unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | (sync ? 0 : MDB_NOSYNC);
	if ((err = mdb_env_set_mapsize(s->env, MAP_BYTES)) ||
	    (err = mdb_env_set_maxreaders(s->env, MAX_READERS)) ||
	    (err = mdb_env_open(s->env, path, flags, 0600)) ||
	    (err = mdb_txn_begin(s->env, NULL, 0, &txn))) {
		mdb_env_close(s->env);
		return err;
	}
	if ((err = mdb_dbi_open(txn, NULL, 0, &s->dbi))) {
		mdb_txn_abort(txn);
		mdb_env_close(s->env);
		return err;
	}
	return mdb_txn_commit(txn);
}

// end commits txn, or aborts it where there was an error.
static int end(MDB_txn *txn, int err) {
	if (err) {
		mdb_txn_abort(txn);
		return err;
	}
	return mdb_txn_commit(txn);
}

int kv_put(kv_store *s, const char *key, size_t key_len, const char *value, size_t value_len) {
	MDB_txn *txn;
	int err = mdb_txn_begin(s->env, NULL, 0, &txn);
	if (err) return err;
	MDB_val k = val(key, key_len), v = val(value, value_len);
	return end(txn, mdb_put(txn, s->dbi, &k, &v, 0));
}

int kv_delete(kv_store *s, const char *key, size_t key_len) {
	MDB_txn *txn;
	int err = mdb_txn_begin(s->env, NULL, 0, &txn);
	if (err) return err;
	MDB_val k = val(key, key_len);
	err = mdb_del(txn, s->dbi, &k, NULL);
	return end(txn, err == MDB_NOTFOUND ? 0 : err);
}

int kv_put_all(kv_store *s, const char *entries, size_t n) {
	MDB_txn *txn;
	int err = mdb_txn_begin(s->env, NULL, 0, &txn);
	if (err) return err;
	for (; n > 0 && !err; n--) {
		uint32_t len[2];
		memcpy(len, entries, sizeof len);
		entries += sizeof len;
		MDB_val k = val(entries, len[0]), v = val(entries + len[0], len[1]);
		entries += len[0] + len[1];
		err = mdb_put(txn, s->dbi, &k, &v, 0);
	}
	return end(txn, err);
}

int kv_reader(kv_store *s, MDB_txn **txn) {
	int err = mdb_txn_begin(s->env, NULL, MDB_RDONLY, txn);
	if (!err) mdb_txn_reset(*txn);
	return err;
}

int kv_get(kv_store *s, MDB_txn *txn, const char *key, size_t key_len, uint64_t *sum) {
	int err = mdb_txn_renew(txn);
	if (err) return err;
	MDB_val k = val(key, key_len), v;
	*sum = 0;
	if (!(err = mdb_get(txn, s->dbi, &k, &v)))
		for (size_t i = 0; i < v.mv_size; i += CACHE_LINE)
			*sum += ((unsigned char *)v.mv_data)[i];
	mdb_txn_reset(txn);
	return err;
}

int kv_cursor(kv_store *s, MDB_cursor **cursor) {
	MDB_txn *txn;
	int err = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
	if (err) return err;
	if ((err = mdb_cursor_open(txn, s->dbi, cursor))) mdb_txn_abort(txn);
	return err;
}

int kv_load(MDB_cursor *cursor, MDB_cursor_op op, const char *key, size_t key_len, kv_chunk *chunk) {
	MDB_val k = val(key, key_len);
	int err = 0;
	chunk->then = op == MDB_LAST || op == MDB_PREV ? MDB_PREV : MDB_NEXT;
	for (chunk->n = 0; chunk->n < KV_CHUNK; op = chunk->then) {
		if ((err = mdb_cursor_get(cursor, &k, &chunk->values[chunk->n], op))) break;
		chunk->keys[chunk->n++] = k;
	}
	return err;
}

void kv_cursor_close(MDB_cursor *cursor) {
	MDB_txn *txn = mdb_cursor_txn(cursor);
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
}
