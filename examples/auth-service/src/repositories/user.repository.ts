import { CACHE_TTL } from '../config/cache.js';
import { query, queryOne } from '../config/database.js';
import { cacheService } from '../services/cache.service.js';
import { CacheKeys, Entries } from '../utils/cache.utils.js';

/** What anybody but the login sees of a user: never the password's hash. */
export interface User {
  id: string;
  email: string;
  name: string;
  version: number;
  createdAt: string;
}

const COLUMNS = 'id, email, name, version, created_at';

export class UserRepository {
  async findById(id: string): Promise<User | null> {
    const cached = await cacheService.get<User>(CacheKeys.user.byId(id));
    if (cached) return cached;
    return this.remember(await queryOne<User>(`select ${COLUMNS} from users where id = $1`, [id]));
  }

  async findByEmail(email: string): Promise<User | null> {
    const cached = await cacheService.get<User>(CacheKeys.user.byEmail(email));
    if (cached) return cached;
    return this.remember(await queryOne<User>(`select ${COLUMNS} from users where email = $1`, [email]));
  }

  /** For the login alone, which never asks the cache. */
  findCredentials(email: string): Promise<{ id: string; passwordHash: string } | null> {
    return queryOne('select id, password_hash from users where email = $1', [email]);
  }

  async create(email: string, name: string, passwordHash: string): Promise<User> {
    const values = [email, name, passwordHash];
    const [user] = await query<User>(
      `with new as (insert into users (email, name, password_hash) values ($1, $2, $3) returning *),
            profile as (insert into user_profiles (user_id) select id from new)
       select ${COLUMNS} from new`,
      values,
    );
    return user!;
  }

  async update(id: string, changes: { email?: string; name?: string }): Promise<User> {
    const [user] = await query<User & { oldEmail: string }>(
      `update users set email = coalesce($2, users.email), name = coalesce($3, users.name), version = users.version + 1
       from (select id, email as old_email from users where id = $1 for update) before
       where users.id = before.id
       returning users.id, users.email, name, version, created_at, old_email`,
      [id, changes.email, changes.name],
    );
    const { oldEmail, ...after } = user!;
    await cacheService.del([Entries.user(id, [...new Set([oldEmail, after.email])])], 'user updated');
    return after;
  }

  async delete(id: string): Promise<void> {
    const [user] = await query<{ email: string }>('delete from users where id = $1 returning email', [id]);
    if (user) await cacheService.del([Entries.user(id, [user.email]), Entries.profile(id)], 'user deleted');
  }

  private async remember(user: User | null): Promise<User | null> {
    if (user) {
      await Promise.all([
        cacheService.set(CacheKeys.user.byEmail(user.email), user, CACHE_TTL.USER),
        cacheService.set(CacheKeys.user.byId(user.id), user, CACHE_TTL.USER),
      ]);
    }
    return user;
  }
}
