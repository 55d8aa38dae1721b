import { performance } from 'node:perf_hooks';
import { CACHE_ENABLED, CACHE_MAX_BYTES, redis } from '../config/cache.js';
import { invalidate, type Invalidated, type Target } from '../config/hydrant.js';
import type { Entry } from '../utils/cache.utils.js';

/** Reads and fills go straight to Redis; what removes goes through Hydrant, which can also stop a fill under way. */
export interface ICacheService {
  get<T>(key: string): Promise<T | null>;
  set(key: string, value: unknown, ttl: number): Promise<void>;
  /** Removes entries with all their keys. Call it after the commit. */
  del(entries: Entry[], reason: string): Promise<void>;
  /** Puts the new value in place of the old one, unless a newer one is known. Call it after the commit. */
  replace(entry: Entry, value: unknown, version: number, reason: string): Promise<void>;
  /** Removes all keys of a pattern. Gives the job that finishes it, where it takes one. */
  invalidatePattern(pattern: string, reason: string): Promise<string | null>;
}

export class CacheService implements ICacheService {
  private counts = { hits: 0, misses: 0, invalidations: 0, withoutHydrant: 0, errors: 0 };
  private milliseconds = 0;

  async get<T>(key: string): Promise<T | null> {
    if (!CACHE_ENABLED) return null;
    const began = performance.now();
    const text = await this.survive(() => redis.get(key));
    this.milliseconds += performance.now() - began;
    this.counts[text ? 'hits' : 'misses'] += 1;
    return text ? (JSON.parse(text) as T) : null;
  }

  async set(key: string, value: unknown, ttl: number): Promise<void> {
    if (!CACHE_ENABLED) return;
    const text = JSON.stringify(value);
    if (Buffer.byteLength(text) > CACHE_MAX_BYTES) return;
    await this.survive(() => redis.setex(key, ttl, text));
  }

  // What removes does not ask CACHE_ENABLED: the keys are still there, and will be read again once it is true.

  async del(entries: Entry[], reason: string): Promise<void> {
    const targets = entries.map(({ member, aliases, minVersion }) => ({
      member: { member, knownAliases: aliases, minVersion: minVersion ? { number: minVersion } : undefined },
    }));
    if (!(await this.tellHydrant(targets, 'REMOVE', reason))) await this.delByHand(entries.flatMap(({ keys }) => keys));
  }

  async replace(entry: Entry, value: unknown, version: number, reason: string): Promise<void> {
    const bytes = Buffer.from(JSON.stringify(value));
    if (bytes.length > CACHE_MAX_BYTES) return this.del([{ ...entry, minVersion: version }], reason);
    const replacement = { value: bytes, version: { number: version } };
    const target = { member: { member: entry.member, knownAliases: entry.aliases, replacement } };
    if (!(await this.tellHydrant([target], 'REPLACE', reason))) await this.delByHand(entry.keys);
  }

  async invalidatePattern(pattern: string, reason: string): Promise<string | null> {
    const answer = await this.tellHydrant([{ pattern: { pattern } }], 'REMOVE', reason);
    if (answer) return answer.pending?.jobId ?? null;
    await this.survive(async () => {
      for await (const keys of redis.scanStream({ match: pattern, count: 500 })) await this.delByHand(keys);
    });
    return null;
  }

  metrics() {
    const lookups = this.counts.hits + this.counts.misses;
    return {
      ...this.counts,
      redis: redis.status,
      hitRate: this.counts.hits / (lookups || 1),
      avgLatency: this.milliseconds / (lookups || 1),
    };
  }

  private async tellHydrant(
    targets: Target[],
    mode: 'REMOVE' | 'REPLACE',
    reason: string,
  ): Promise<Invalidated | null> {
    this.counts.invalidations += 1;
    try {
      return await invalidate(targets, mode, reason);
    } catch (error) {
      this.counts.withoutHydrant += 1;
      console.warn('invalidate:', (error as Error).message);
      return null;
    }
  }

  /** Without Hydrant: each key with its guard, which voids a fill of another pod's Hydrant that is under way. */
  private async delByHand(keys: string[]): Promise<void> {
    await this.survive(() => Promise.all(keys.map((key) => redis.del(key, `{${key}}:g`))));
  }

  /** A cache that fails costs time, never a request. */
  private async survive<T>(command: () => Promise<T>): Promise<T | null> {
    try {
      return await command();
    } catch {
      this.counts.errors += 1;
      return null;
    }
  }
}

export const cacheService = new CacheService();
