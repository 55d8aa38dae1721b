/** Uses the service as people would, and looks into Redis and Postgres after every step. run.sh has the order. */
import { invalidate, jobEnd } from '../config/hydrant.js';
import { CacheKeys, Entries } from '../utils/cache.utils.js';
import { load, table } from './load.js';
import {
  api,
  check,
  commandsOf,
  database,
  dump,
  eventually,
  figures,
  INTERNAL_TOKEN,
  queriesOf,
  redis,
  saveFigures,
} from './tools.js';

const PASSWORD = 'correct horse battery staple';
const V1 = '/api/v1';
const ttlOf = (kind: string) => Number(process.env[`REDIS_TTL_${kind}`]);

const phases: Record<string, { title: string; run: () => Promise<void> }> = {
  with_cache: { title: 'CACHE_ENABLED=true, with Hydrant', run: withCache },
  without_cache: { title: 'CACHE_ENABLED=false', run: withoutCache },
  far_with_cache: { title: 'The database 20 ms away, CACHE_ENABLED=true', run: () => farAway('with the cache') },
  far_without_cache: { title: 'The database 20 ms away, CACHE_ENABLED=false', run: () => farAway('without the cache') },
  without_hydrant: { title: 'CACHE_ENABLED=true, Hydrant stopped', run: withoutHydrant },
  report: { title: 'GET /api/v1/auth/me under load', run: report },
};

async function withCache(): Promise<void> {
  const { id } = (
    await api('POST', `${V1}/auth/register`, '', { email: 'ada@example.com', name: 'Ada', password: PASSWORD })
  ).body;
  let person = { id, email: 'ada@example.com', accessToken: '', refreshToken: '' };
  const login = async () => {
    const { status, body } = await api('POST', `${V1}/auth/login`, '', { email: person.email, password: PASSWORD });
    person = { ...person, ...body };
    return status;
  };
  const wrong = () => api('POST', `${V1}/auth/login`, '', { email: person.email, password: 'wrong' });

  check('the service finds Hydrant', await eventually(hydrantIsThere));
  const commands = await commandsOf(async () => {
    check('a login works', (await login()) === 200);
    check('one with a wrong password does not', (await wrong()).status === 401);
  });
  check('neither asks Redis anything', commands.length === 0, commands.join(', '));

  const { user, session, profile, oauth } = CacheKeys;
  const filled = [user.byId(id), user.byEmail(person.email), session.byToken(person.accessToken), profile.byUserId(id)];
  const all = (keys: string[]) => eventually(async () => (await redis.exists(keys)) === keys.length);
  check('Hydrant fills user, e-mail, session and profile before anybody reads', await all(filled));
  const me = () => api('GET', `${V1}/auth/me`, person.accessToken);
  check('the first request makes no database query', (await queriesOf(me)) === 0);
  const [byId, byEmail] = await redis.mget(user.byId(id), user.byEmail(person.email));
  check('both keys of the user hold all of it', !!byId && byId === byEmail && JSON.parse(byId).name === 'Ada');
  const reset = () => api('POST', `${V1}/auth/forgot-password`, '', { email: person.email });
  check('findByEmail makes no database query', (await queriesOf(reset)) === 0);

  await api('PUT', `${V1}/oauth/google`, person.accessToken, {
    accountId: 'g-17',
    accessToken: 'an-access-token-of-google',
  });
  const google = () => api('GET', `${V1}/oauth/google`, person.accessToken);
  check('an account is read from the database', (await queriesOf(google)) === 1);
  // For 2 s after a change, what the service itself has written is taken out again: it could be from before.
  const cached = () => eventually(async () => (await queriesOf(google)) === 0);
  check('and what Hydrant does not load, the service caches', await cached());
  for (const [key, ttl] of [
    [user.byId(id), ttlOf('USER')],
    [user.byEmail(person.email), ttlOf('USER')],
    [session.byToken(person.accessToken), ttlOf('SESSION')],
    [oauth.byProvider(id, 'google'), ttlOf('OAUTH')],
    [profile.byUserId(id), ttlOf('PROFILE')],
  ] as const) {
    let left = -1;
    await eventually(async () => {
      await google();
      left = await redis.ttl(key);
      return left > 0;
    });
    const what = key.split(':').slice(0, 2).join(':').replace(id, '…');
    check(`${what}:… lives ${ttl} s, give or take a tenth`, Math.abs(left - ttl) <= ttl * 0.1 + 5, `${left} s left`);
  }

  console.log('  -- delete');
  const old = person.email;
  const changed = await api('PATCH', `${V1}/users/me`, person.accessToken, { email: 'ada@new.example' });
  const gone = (await redis.exists(user.byId(id), user.byEmail(old), user.byEmail('ada@new.example'))) === 0;
  check('a change of e-mail removes the user under id, old and new e-mail', changed.status === 200 && gone);
  check('and the next read has it', (await me()).body.email === 'ada@new.example');
  person.email = 'ada@new.example';

  await checkClosedAccount();

  console.log('  -- update in place');
  const place = await api('PUT', `${V1}/profile`, person.accessToken, { bio: 'Sails on Sundays' });
  const kept = JSON.parse((await redis.get(profile.byUserId(id))) ?? '{}');
  check('a new profile stands in Redis at once', place.status === 200 && kept.bio === 'Sails on Sundays');
  const reads = await queriesOf(() => api('GET', `${V1}/profile`, person.accessToken));
  check('so the next read makes no database query', reads === 0, `${await redis.ttl(profile.byUserId(id))} s left`);
  await checkLateReplacement(id, kept.version);
  await api('PUT', `${V1}/profile`, person.accessToken, { bio: 'x'.repeat(1_200_000) });
  await api('GET', `${V1}/profile`, person.accessToken);
  const large = await redis.exists(profile.byUserId(id));
  check('one over 1 MiB is served and not cached', large === 0);
  await api('PUT', `${V1}/profile`, person.accessToken, { bio: 'Sails' });
  check('a small one after it is', (await redis.get(profile.byUserId(id)))?.includes('Sails') === true);

  console.log('  -- by pattern');
  const providers = ['github', 'apple', 'google'];
  for (const provider of providers) {
    const account = { accountId: provider, accessToken: 'a-secret-of-theirs' };
    await api('PUT', `${V1}/oauth/${provider}`, person.accessToken, account);
  }
  const accounts = providers.map((provider) => oauth.byProvider(id, provider));
  await eventually(async () => {
    for (const provider of providers) await api('GET', `${V1}/oauth/${provider}`, person.accessToken);
    return (await redis.exists(accounts)) === accounts.length;
  });
  await checkPattern(oauth.byUserId(id), () => api('DELETE', `${V1}/oauth`, person.accessToken));
  check('and no account is found any more', (await google()).status === 404);

  console.log('  -- refresh, logout, secrets');
  const before = person.accessToken;
  const refreshed = await api('POST', `${V1}/auth/refresh`, '', { refreshToken: person.refreshToken });
  person = { ...person, ...refreshed.body };
  check('a refreshed token ends the old one, in Redis', (await redis.exists(session.byToken(before))) === 0);
  check('and for the service', (await api('GET', `${V1}/auth/me`, before)).status === 401);
  check(
    'the new session and the profile are filled',
    await all([session.byToken(person.accessToken), profile.byUserId(id)]),
  );
  check('so the next request makes no database query', (await queriesOf(me)) === 0);

  const everything = await dump();
  const { rows } = await database.query(
    'select password_hash as secret from users union select access_token from oauth_accounts',
  );
  const secrets = [
    ...rows.map((row) => row.secret),
    person.refreshToken,
    'a-secret-of-theirs',
    'an-access-token-of-google',
  ];
  const leaked = secrets.filter((secret) => everything.includes(secret)).length;
  check(
    'no hash, refresh token or provider token in all of Redis',
    leaked === 0 && everything.includes('ada@new.example'),
  );

  await checkPattern(session.all(), () => api('DELETE', '/internal/sessions', INTERNAL_TOKEN));
  check('and everybody is logged out', (await me()).status === 401);
  await login();
  check('a new login is filled', await all([session.byToken(person.accessToken), user.byId(id)]));
  await api('POST', `${V1}/auth/logout`, person.accessToken);
  check(
    'a logout ends the session',
    (await redis.exists(session.byToken(person.accessToken))) === 0 && (await me()).status === 401,
  );

  await login();
  await all([session.byToken(person.accessToken), user.byId(id)]);
  const measured = await load('with the cache', person.accessToken);
  check('and make next to no database queries', measured.queries < 200, `${measured.queries} of 20000`);
  const { hitRate, errors, avgLatency, withoutHydrant } = await state();
  check(
    'the hit rate is over 70 %',
    hitRate > 0.7,
    `${(hitRate * 100).toFixed(2)} %, ${avgLatency.toFixed(2)} ms a lookup`,
  );
  check('Hydrant answered every time', withoutHydrant === 0, `${errors} cache errors`);
  figures.person = person;
}

async function checkClosedAccount(): Promise<void> {
  const bob = { email: 'bob@example.com', name: 'Bob', password: PASSWORD };
  const { id } = (await api('POST', `${V1}/auth/register`, '', bob)).body;
  const { accessToken } = (await api('POST', `${V1}/auth/login`, '', bob)).body;
  await api('GET', `${V1}/profile`, accessToken);
  const keys = [CacheKeys.user.byId(id), CacheKeys.user.byEmail(bob.email), CacheKeys.profile.byUserId(id)];
  await eventually(async () => (await redis.exists(keys)) === keys.length);
  const before = await redis.exists(keys);
  await api('DELETE', `${V1}/users/me`, accessToken);
  check('a closed account removes user, e-mail and profile in one call', before === 3 && !(await redis.exists(keys)));
  check('and its token is refused at once', (await api('GET', `${V1}/auth/me`, accessToken)).status === 401);
}

const state = async () => (await api('GET', '/internal/cache', INTERNAL_TOKEN)).body;
const hydrantIsThere = async () => (await state()).hydrant;
const redisIsThere = async () => (await state()).redis === 'ready';

/** A replacement that was on its way while a newer one overtook it. */
async function checkLateReplacement(id: string, version: number): Promise<void> {
  const value = Buffer.from(JSON.stringify({ userId: id, bio: 'older', avatarUrl: null, version: version - 1 }));
  const member = { member: Entries.profile(id).member, replacement: { value, version: { number: version - 1 } } };
  const answer = await invalidate([{ member }], 'REPLACE', 'a late replacement').catch(() => null);
  const now = await redis.get(CacheKeys.profile.byUserId(id));
  check('an older version that comes late is not written', answer?.counts?.superseded === 1 && !now?.includes('older'));
}

async function checkPattern(pattern: string, act: () => Promise<{ body: any }>): Promise<void> {
  const shown = pattern.replace(/:[\da-f-]{36}:/, ':…:');
  const found = async () => (await redis.keys(pattern)).length;
  const before = await found();
  const began = Date.now();
  const { job } = (await act()).body;
  const end = job && (await jobEnd(job, 30).catch((error: Error) => ({ state: error.message })));
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  check(`${shown} is a job that ends`, end?.state === 'JOB_STATE_SUCCEEDED', `${seconds} s`);
  check(`and takes ${before} of its keys`, before > 0 && (await found()) === 0, `${await found()} left`);
}

async function withoutCache(): Promise<void> {
  const { id, email } = figures.person;
  const body = { email, password: PASSWORD };
  await redis.setex(CacheKeys.user.byId(id), 900, JSON.stringify({ id, email, name: 'left from before' }));
  const { accessToken } = (await api('POST', `${V1}/auth/login`, '', body)).body;
  let made = 0;
  const commands = await commandsOf(async () => {
    made = await queriesOf(() => api('GET', `${V1}/auth/me`, accessToken));
  });
  check('a request makes two database queries', made === 2);
  check('and asks Redis nothing', commands.length === 0, commands.join(', '));
  check('Hydrant fills nothing', (await redis.exists(CacheKeys.session.byToken(accessToken))) === 0);
  await api('PATCH', `${V1}/users/me`, accessToken, { name: 'Ada L.' });
  check('a change still removes what was cached before', (await redis.exists(CacheKeys.user.byId(id))) === 0);
  await load('without the cache', accessToken);
  figures.person.accessToken = accessToken;
}

async function farAway(how: string): Promise<void> {
  const { email } = figures.person;
  await eventually(hydrantIsThere);
  const { accessToken } = (await api('POST', `${V1}/auth/login`, '', { email, password: PASSWORD })).body;
  await eventually(
    async () => how === 'without the cache' || (await redis.exists(CacheKeys.session.byToken(accessToken))) === 1,
  );
  await load(`${how}, the database 20 ms away`, accessToken, 2000);
}

async function withoutHydrant(): Promise<void> {
  const { id, email } = figures.person;
  let accessToken = '';
  const commands = await commandsOf(async () => {
    accessToken = (await api('POST', `${V1}/auth/login`, '', { email, password: PASSWORD })).body.accessToken;
  });
  check('a login works, and asks Redis nothing', accessToken !== '' && commands.length === 0, commands.join(', '));
  const me = () => api('GET', `${V1}/auth/me`, accessToken);
  check('the first request is slower: it makes two database queries', (await queriesOf(me)) === 2);
  check('the second none: the service fills its cache itself', (await queriesOf(me)) === 0);
  const keys = [CacheKeys.user.byId(id), CacheKeys.user.byEmail(email)];
  check('the user stands under both keys', (await redis.exists(keys)) === 2);
  await api('PATCH', `${V1}/users/me`, accessToken, { name: 'Ada K.' });
  check('a change removes both', (await redis.exists(keys)) === 0);
  check('and is seen at the next read', (await me()).body.name === 'Ada K.');
  await api('GET', `${V1}/profile`, accessToken);
  await api('PUT', `${V1}/profile`, accessToken, { bio: 'Rows' });
  check('a new profile is read', (await api('GET', `${V1}/profile`, accessToken)).body.bio === 'Rows');
  await api('DELETE', '/internal/sessions', INTERNAL_TOKEN);
  check(
    'a pattern is removed',
    (await redis.keys(CacheKeys.session.all())).length === 0 && (await me()).status === 401,
  );
}

async function report(): Promise<void> {
  table(figures.loads);
  console.log(`\n${figures.checks - figures.failed} passed, ${figures.failed} failed`);
  process.exitCode = figures.failed ? 1 : 0;
}

const phase = phases[process.argv[2] ?? '']!;
console.log(`\n${phase.title}`);
await database.connect();
await eventually(redisIsThere);
await phase.run();
saveFigures();
process.exit();
