/** The load of the plan this service was made from: 10,000 requests, 100 at a time, each with a token. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { BASE, check, figures, queries, type Load } from './tools.js';

const AT_ONCE = 100;

/** What the plan expected, of a database 50 to 100 ms away and a cache 1 to 3 ms away. */
const EXPECTED: Load[] = [
  {
    name: 'plan: without the cache',
    requestsPerSecond: 50.23,
    percentiles: { '50': 1850, '75': 2100, '90': 2400, '95': 2800, '99': 3500 },
    queries: NaN,
    queriesPerMinute: 3700,
  },
  {
    name: 'plan: with the cache',
    requestsPerSecond: 1250.45,
    percentiles: { '50': 2, '75': 3, '90': 5, '95': 8, '99': 50 },
    queries: NaN,
    queriesPerMinute: 370,
  },
];

export async function load(name: string, token: string, requests = 10_000): Promise<Load> {
  const args = [
    '-q',
    '-n',
    `${requests}`,
    '-c',
    `${AT_ONCE}`,
    '-H',
    `Authorization: Bearer ${token}`,
    `${BASE}/api/v1/auth/me`,
  ];
  const before = await queries();
  const { stdout } = await promisify(execFile)('ab', args, { timeout: 60_000 });
  const sent = (await queries()) - before;
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? NaN);
  const percentiles = [...stdout.matchAll(/^\s+(\d+)%\s+(\d+)/gm)].map(([, share, time]) => [share, Number(time)]);
  const answered = number(/Complete requests:\s+(\d+)/) - (number(/Non-2xx responses:\s+(\d+)/) || 0);
  const measured = {
    name,
    requestsPerSecond: number(/Requests per second:\s+([\d.]+)/),
    percentiles: Object.fromEntries(percentiles),
    queries: sent,
    queriesPerMinute: (sent / number(/Time taken for tests:\s+([\d.]+)/)) * 60,
  };
  check(`${name}: ${requests} requests, ${AT_ONCE} at a time, are all answered`, answered === requests);
  figures.loads.push(measured);
  return measured;
}

export function table(loads: Load[]): void {
  const shares = ['50', '75', '90', '95', '99'];
  const row = (name: string, cells: string[]) =>
    console.log(`  ${name.padEnd(42)}${cells.map((c) => c.padStart(10)).join('')}`);
  row('', ['req/s', ...shares.map((share) => `p${share} ms`), 'queries', 'q/min']);
  for (const { name, requestsPerSecond, percentiles, queries, queriesPerMinute } of [...EXPECTED, ...loads]) {
    const times = shares.map((share) => `${percentiles[share]}`);
    row(name, [
      requestsPerSecond.toFixed(0),
      ...times,
      Number.isNaN(queries) ? '' : `${queries}`,
      queriesPerMinute.toFixed(0),
    ]);
  }
}
