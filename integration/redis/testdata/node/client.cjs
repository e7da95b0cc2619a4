// Uses a server as programs do: node client.cjs HOST PORT. It ends with status 0
// if all was as Redis would have it.
const assert = require("node:assert/strict");
const { createClient, WatchError } = require("redis");

async function main(host, port) {
  const url = `redis://${host}:${port}`;
  for (const RESP of [2, 3]) {
    const client = createClient({ url, RESP, name: "worker" });
    const other = createClient({ url, RESP });
    for (const c of [client, other]) {
      c.on("error", (err) => { throw err; });
      await c.connect();
    }
    await client.flushAll();
    assert.equal(await client.clientGetName(), "worker");

    // Strings, with bytes of all values.
    assert.equal(await client.set("greeting", "hello"), "OK");
    assert.equal(await client.get("greeting"), "hello");
    assert.equal(await client.get("nothing"), null);
    assert.equal(await client.set("greeting", "no", { condition: "NX" }), null);
    assert.equal(await client.append("greeting", " world"), 11);
    assert.equal(await client.getRange("greeting", -5, -1), "world");
    await client.set("größe", "日本語\r\n\0");
    assert.equal(await client.get("größe"), "日本語\r\n\0");
    assert.deepEqual(await client.mGet(["greeting", "nothing"]), ["hello world", null]);
    assert.equal(await client.incrBy("counter", 41), 41);
    assert.equal(await client.incr("counter"), 42);
    assert.equal(Number(await client.incrByFloat("ratio", 0.5)), 0.5);
    await assert.rejects(client.incr("greeting"), /not an integer/);

    // Keys that end.
    await client.set("session", "x", { expiration: { type: "EX", value: 1000 } });
    const ttl = await client.ttl("session");
    assert.ok(ttl > 900 && ttl <= 1000, `ttl ${ttl}`);
    assert.equal(await client.persist("session"), 1);
    assert.equal(await client.ttl("session"), -1);
    assert.equal(await client.expireAt("session", 1), 1);
    assert.equal(await client.exists("session"), 0);

    // A pipeline: what is asked in one turn of the loop is sent at once.
    const sets = [];
    for (let i = 0; i < 1000; i++) sets.push(client.set(`many:${i}`, `${i}`));
    await Promise.all(sets);
    const found = new Set();
    for await (const keys of client.scanIterator({ MATCH: "many:*", COUNT: 100 })) {
      for (const key of [].concat(keys)) found.add(key);
    }
    assert.equal(found.size, 1000);

    // Transactions.
    assert.deepEqual(await client.multi().set("t", "1").incr("t").get("t").exec(), ["OK", 2, "2"]);
    await client.watch("t");
    await other.set("t", "5");
    await assert.rejects(client.multi().incr("t").exec(), WatchError);
    assert.equal(await client.get("t"), "5");

    // Databases.
    await client.select(3);
    assert.equal(await client.dbSize(), 0);
    await client.set("t", "of 3");
    assert.equal(await other.get("t"), "5");
    await client.flushDb();

    assert.match(await client.info("server"), /redis_version:/);
    await client.close();
    await other.close();
  }
  await nearCache(url);
}

// nearCache reads through a cache that the server keeps up to date.
async function nearCache(url) {
  const cached = createClient({ url, RESP: 3, clientSideCache: { ttl: 0, maxEntries: 100 } });
  const other = createClient({ url });
  await cached.connect();
  await other.connect();
  await other.set("shared", "old");
  assert.equal(await cached.get("shared"), "old");
  assert.equal(await cached.get("shared"), "old");
  await other.set("shared", "new");
  for (const end = Date.now() + 30000; (await cached.get("shared")) !== "new";) {
    assert.ok(Date.now() < end, "the cache is never told that the key has changed");
    await new Promise(setImmediate); // lets what the server has said come in
  }
  await cached.close();
  await other.close();
}

main(process.argv[2], process.argv[3]).catch((err) => {
  console.error(err);
  process.exit(1);
});
