import { CACHE_TTL } from '../config/cache.js';
import { query, queryOne } from '../config/database.js';
import { cacheService } from '../services/cache.service.js';
import { CacheKeys, Entries } from '../utils/cache.utils.js';

export interface Profile {
  userId: string;
  bio: string;
  avatarUrl: string | null;
  version: number;
}

const COLUMNS = 'user_id, bio, avatar_url, version';

export class ProfileRepository {
  async findByUserId(userId: string): Promise<Profile | null> {
    const key = CacheKeys.profile.byUserId(userId);
    const cached = await cacheService.get<Profile>(key);
    if (cached) return cached;
    const profile = await this.load(userId);
    if (profile) await cacheService.set(key, profile, CACHE_TTL.PROFILE);
    return profile;
  }

  load(userId: string): Promise<Profile | null> {
    return queryOne<Profile>(`select ${COLUMNS} from user_profiles where user_id = $1`, [userId]);
  }

  /** Updated in place: the next read finds the new profile, without a miss. */
  async update(userId: string, changes: { bio?: string; avatarUrl?: string }): Promise<Profile> {
    const [profile] = await query<Profile>(
      `update user_profiles set bio = coalesce($2, bio), avatar_url = coalesce($3, avatar_url), version = version + 1
       where user_id = $1 returning ${COLUMNS}`,
      [userId, changes.bio, changes.avatarUrl],
    );
    await cacheService.replace(Entries.profile(userId), profile, profile!.version, 'profile updated');
    return profile!;
  }
}
