import { Redis } from 'ioredis';

const number = (name: string, otherwise: number) => Number(process.env[name] || otherwise);

export const CACHE_TTL = {
  USER: number('REDIS_TTL_USER', 900),
  SESSION: number('REDIS_TTL_SESSION', 300),
  OAUTH: number('REDIS_TTL_OAUTH', 1800),
  PROFILE: number('REDIS_TTL_PROFILE', 900),
};

export const CACHE_ENABLED = (process.env.CACHE_ENABLED || 'true') === 'true';

/** Nothing larger is cached. */
export const CACHE_MAX_BYTES = 1024 * 1024;

export const redis = new Redis({
  host: process.env.REDIS_HOST || '127.0.0.1',
  port: number('REDIS_PORT', 6379),
  password: process.env.REDIS_PASSWORD || undefined,
  db: number('REDIS_DB', 0),
  connectionName: 'auth-service',
  retryStrategy: (times) => Math.min(times * 50, 2000),
  // While Redis is away a request goes to the database at once; it does not queue up for a cache.
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  commandTimeout: 500,
});

redis.on('error', (error) => console.error('redis:', error.message));
