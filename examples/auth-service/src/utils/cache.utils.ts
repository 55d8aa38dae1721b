import type { AliasValue, Member } from '../config/hydrant.js';

/** Keys as they stand in Redis: `{entity}:{identifier}:{value}`. hydrant.yaml has the same. */
export const CacheKeys = {
  user: {
    byId: (id: string) => `user:id:${id}`,
    byEmail: (email: string) => `user:email:${email}`,
  },
  session: {
    byToken: (token: string) => `session:token:${token}`,
    all: () => 'session:token:*',
  },
  oauth: {
    byProvider: (userId: string, provider: string) => `oauth:${userId}:${provider}`,
    byUserId: (userId: string) => `oauth:${userId}:*`,
  },
  profile: {
    byUserId: (userId: string) => `profile:user:${userId}`,
  },
};

/** One cached thing, for Hydrant by name and, where Hydrant does not answer, by its keys. */
export interface Entry {
  member: Member;
  aliases: AliasValue[];
  keys: string[];
  /** The oldest version that may be cached from now on. */
  minVersion?: number;
}

export const Entries = {
  user: (id: string, emails: string[]): Entry => ({
    member: { entity: 'user', params: { id } },
    aliases: emails.map((email) => ({ alias: 'email', params: { email } })),
    keys: [CacheKeys.user.byId(id), ...emails.map(CacheKeys.user.byEmail)],
  }),
  session: (token: string): Entry => ({
    member: { entity: 'session', params: { token } },
    aliases: [],
    keys: [CacheKeys.session.byToken(token)],
  }),
  oauth: (userId: string, provider: string): Entry => ({
    member: { entity: 'oauth', params: { userId, provider } },
    aliases: [],
    keys: [CacheKeys.oauth.byProvider(userId, provider)],
  }),
  profile: (userId: string): Entry => ({
    member: { entity: 'profile', params: { userId } },
    aliases: [],
    keys: [CacheKeys.profile.byUserId(userId)],
  }),
};
