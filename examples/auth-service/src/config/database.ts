import pg from 'pg';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 20 });

/** Rows as this service speaks of them: camelCase, times as ISO text, versions as numbers. */
export async function query<T>(text: string, values: unknown[] = []): Promise<T[]> {
  const { rows } = await pool.query(text, values);
  return rows.map((row) => {
    const columns = Object.entries(row).map(([name, value]) => [camel(name), plain(name, value)]);
    return Object.fromEntries(columns) as T;
  });
}

export async function queryOne<T>(text: string, values: unknown[] = []): Promise<T | null> {
  return (await query<T>(text, values))[0] ?? null;
}

const camel = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());

const plain = (name: string, value: unknown) =>
  value instanceof Date ? value.toISOString() : name === 'version' ? Number(value) : value;
