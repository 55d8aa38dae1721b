// A straightforward warmer, as an application would write it: SETEX for each member, Promise.allSettled over a batch,
// nothing guarded. It prints the seconds it took, without its start and without its connection.
import Redis from "ioredis";

const [port, count, bytes, batch] = process.argv.slice(2).map(Number);
const redis = new Redis({ port, host: "127.0.0.1", enableAutoPipelining: true });
await redis.ping();

const filler = "x".repeat(bytes - 40);
const load = async (id) => ({ id, name: "Ada", bio: filler });

const began = process.hrtime.bigint();
for (let from = 0; from < count; from += batch) {
  const ids = Array.from({ length: Math.min(batch, count - from) }, (_, n) => from + n);
  const settled = await Promise.allSettled(
    ids.map(async (id) => redis.setex(`user:id:${id}`, 300, JSON.stringify(await load(id)))),
  );
  const failed = settled.filter((one) => one.status === "rejected");
  if (failed.length > 0) throw failed[0].reason;
}
console.log(Number(process.hrtime.bigint() - began) / 1e9);
redis.disconnect();
