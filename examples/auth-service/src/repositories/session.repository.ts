import { CACHE_TTL } from '../config/cache.js';
import { query, queryOne } from '../config/database.js';
import { cacheService } from '../services/cache.service.js';
import { CacheKeys, Entries } from '../utils/cache.utils.js';

export interface Session {
  id: string;
  userId: string;
  expiresAt: string;
}

const COLUMNS = 'id, user_id, expires_at';

export class SessionRepository {
  async findByToken(token: string): Promise<Session | null> {
    const key = CacheKeys.session.byToken(token);
    const cached = await cacheService.get<Session>(key);
    if (cached) return cached;
    const session = await this.load(token);
    if (session) await cacheService.set(key, session, CACHE_TTL.SESSION);
    return session;
  }

  load(token: string): Promise<Session | null> {
    return queryOne<Session>(`select ${COLUMNS} from sessions where token = $1 and expires_at > now()`, [token]);
  }

  async create(userId: string, token: string, refreshToken: string): Promise<void> {
    await query(
      "insert into sessions (user_id, token, refresh_token, expires_at) values ($1, $2, $3, now() + interval '1 hour')",
      [userId, token, refreshToken],
    );
  }

  /** The user and the token that has been replaced; null if the refresh token is not one of ours. */
  async refresh(
    refreshToken: string,
    makeToken: (userId: string) => string,
  ): Promise<{ userId: string; token: string } | null> {
    const known = await queryOne<{ userId: string; token: string }>(
      'select user_id, token from sessions where refresh_token = $1',
      [refreshToken],
    );
    if (!known) return null;
    const token = makeToken(known.userId);
    await query("update sessions set token = $2, expires_at = now() + interval '1 hour' where refresh_token = $1", [
      refreshToken,
      token,
    ]);
    await cacheService.del([Entries.session(known.token)], 'token refreshed');
    return { userId: known.userId, token };
  }

  async delete(token: string): Promise<void> {
    await query('delete from sessions where token = $1', [token]);
    await cacheService.del([Entries.session(token)], 'logout');
  }

  async deleteAll(): Promise<string | null> {
    await query('delete from sessions');
    return cacheService.invalidatePattern(CacheKeys.session.all(), 'everybody logged out');
  }
}
