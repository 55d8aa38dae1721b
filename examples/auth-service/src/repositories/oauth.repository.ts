import { CACHE_TTL } from '../config/cache.js';
import { query, queryOne } from '../config/database.js';
import { cacheService } from '../services/cache.service.js';
import { CacheKeys, Entries } from '../utils/cache.utils.js';

/** Without the provider's access token, which stays in the database. */
export interface OAuthAccount {
  userId: string;
  provider: string;
  providerAccountId: string;
}

export class OAuthRepository {
  async findByProvider(userId: string, provider: string): Promise<OAuthAccount | null> {
    const key = CacheKeys.oauth.byProvider(userId, provider);
    const cached = await cacheService.get<OAuthAccount>(key);
    if (cached) return cached;
    const account = await queryOne<OAuthAccount>(
      'select user_id, provider, provider_account_id from oauth_accounts where user_id = $1 and provider = $2',
      [userId, provider],
    );
    if (account) await cacheService.set(key, account, CACHE_TTL.OAUTH);
    return account;
  }

  async link(userId: string, provider: string, accountId: string, accessToken: string): Promise<void> {
    await query(
      `insert into oauth_accounts values ($1, $2, $3, $4)
       on conflict (user_id, provider) do update set provider_account_id = $3, access_token = $4`,
      [userId, provider, accountId, accessToken],
    );
    await cacheService.del([Entries.oauth(userId, provider)], 'account linked');
  }

  async unlinkAll(userId: string): Promise<string | null> {
    await query('delete from oauth_accounts where user_id = $1', [userId]);
    return cacheService.invalidatePattern(CacheKeys.oauth.byUserId(userId), 'accounts unlinked');
  }
}
