/** What the checks look through: the service's API, all of Redis, and the queries that Postgres has counted. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import pg from 'pg';

const env = process.env;
const FIGURES = `${env.WORK}/figures.json`;

export const BASE = `http://127.0.0.1:${env.PORT}`;
export const INTERNAL_TOKEN = env.INTERNAL_TOKEN!;
export const redis = new Redis({ port: Number(env.REDIS_PORT), password: env.REDIS_PASSWORD, connectionName: 'drive' });
export const database = new pg.Client({ connectionString: env.OBSERVER_URL });

export interface Load {
  name: string;
  requestsPerSecond: number;
  percentiles: Record<string, number>;
  queries: number;
  queriesPerMinute: number;
}

interface Figures {
  checks: number;
  failed: number;
  person: { id: string; email: string; accessToken: string; refreshToken: string };
  loads: Load[];
}

export const figures: Figures = existsSync(FIGURES)
  ? JSON.parse(readFileSync(FIGURES, 'utf8'))
  : { checks: 0, failed: 0, person: {}, loads: [] };

export const saveFigures = () => writeFileSync(FIGURES, JSON.stringify(figures));

export function check(what: string, held: boolean, seen = ''): void {
  figures.checks += 1;
  figures.failed += held ? 0 : 1;
  console.log(`  ${held ? 'ok  ' : 'FAIL'}  ${what.padEnd(70)} ${seen}`);
}

export interface Reply {
  status: number;
  body: any;
}

export async function api(method: string, path: string, token = '', body?: object): Promise<Reply> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const response = await fetch(BASE + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  return { status: response.status, body: text && JSON.parse(text) };
}

/** How many statements the app has sent to Postgres. */
export async function queries(): Promise<number> {
  const { rows } = await database.query(
    "select coalesce(sum(calls), 0)::int as calls from pg_stat_statements where userid = 'app'::regrole",
  );
  return rows[0].calls;
}

export async function queriesOf(act: () => Promise<unknown>): Promise<number> {
  const before = await queries();
  await act();
  return (await queries()) - before;
}

/** The commands that the app sends to Redis meanwhile; Hydrant's and our own are left out. */
export async function commandsOf(act: () => Promise<unknown>): Promise<string[]> {
  const socket = connect({ host: '127.0.0.1', port: Number(env.REDIS_PORT) });
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  socket.write(`AUTH ${env.REDIS_PASSWORD}\r\nMONITOR\r\n`);
  await lines.next();
  await lines.next();
  await act();
  await redis.echo('the end');
  const clients = String(await redis.call('CLIENT', 'LIST')).split('\n');
  const theirs = clients.filter((c) => c.includes(' name=auth-service ')).map((c) => / addr=(\S+)/.exec(c)![1]);
  const seen: string[] = [];
  for (let line = ''; !line.endsWith('"echo" "the end"'); line = (await lines.next()).value) {
    const [, source, command] = /^\+\S+ \[\d+ (\S+)\] (.*)$/.exec(line) ?? [];
    if (command && theirs.includes(source)) seen.push(command);
  }
  socket.destroy();
  return seen;
}

/** Every byte there is in Redis, Hydrant's own keys included, as text of one character for each byte. */
export async function dump(): Promise<string> {
  const read: Record<string, (key: Buffer) => Promise<unknown>> = {
    string: (key) => redis.getBuffer(key),
    hash: (key) => redis.hgetallBuffer(key),
    list: (key) => redis.lrangeBuffer(key, 0, -1),
    set: (key) => redis.smembersBuffer(key),
    zset: (key) => redis.zrangeBuffer(key, 0, -1),
    stream: (key) => redis.xrangeBuffer(key, '-', '+'),
    none: async () => null,
  };
  const lines: string[] = [];
  for await (const keys of redis.scanBufferStream({ count: 1000 })) {
    for (const key of keys) lines.push(flat([key, await read[await redis.type(key)]!(key)]));
  }
  return lines.join('\n');
}

function flat(reply: unknown): string {
  if (Buffer.isBuffer(reply)) return reply.toString('latin1');
  return reply && typeof reply === 'object' ? Object.entries(reply).flat().map(flat).join(' ') : String(reply);
}

export async function eventually(condition: () => Promise<boolean>, seconds = 10): Promise<boolean> {
  const end = Date.now() + seconds * 1000;
  while (!(await condition())) {
    if (Date.now() > end) return false;
    await pause(20);
  }
  return true;
}
