/** The routes, on Node's own HTTP server. */
import { createServer, type IncomingMessage } from 'node:http';
import { queryOne } from './config/database.js';
import { isConnected } from './config/hydrant.js';
import { OAuthRepository } from './repositories/oauth.repository.js';
import { ProfileRepository } from './repositories/profile.repository.js';
import { SessionRepository } from './repositories/session.repository.js';
import { UserRepository, type User } from './repositories/user.repository.js';
import { AuthService } from './services/auth.service.js';
import { cacheService } from './services/cache.service.js';

const users = new UserRepository();
const sessions = new SessionRepository();
const accounts = new OAuthRepository();
const profiles = new ProfileRepository();
const auth = new AuthService(users, sessions);

interface Call {
  token: string;
  params: string[];
  body: any;
}

/** What is answered: a body with 200, or a status alone. */
type Answer = object | number;

const loggedIn = (route: (user: User, call: Call) => Promise<Answer>) => async (call: Call) => {
  const user = await auth.authenticate(call.token);
  return user ? route(user, call) : 401;
};

/** For Hydrant and for operators, with a token of their own. */
const internal = (route: (call: Call) => Promise<Answer>) => async (call: Call) =>
  call.token === process.env.INTERNAL_TOKEN ? route(call) : 401;

const ROUTES: [method: string, path: RegExp, route: (call: Call) => Promise<Answer>][] = [
  ['POST', /^\/api\/v1\/auth\/register$/, ({ body }) => auth.register(body.email, body.name, body.password)],
  ['POST', /^\/api\/v1\/auth\/login$/, async ({ body }) => (await auth.login(body.email, body.password)) ?? 401],
  ['POST', /^\/api\/v1\/auth\/refresh$/, async ({ body }) => (await auth.refresh(body.refreshToken)) ?? 401],
  ['GET', /^\/api\/v1\/auth\/me$/, loggedIn(async (user) => user)],
  ['POST', /^\/api\/v1\/auth\/logout$/, loggedIn(async (_, { token }) => (await sessions.delete(token), 204))],
  // Answers the same whether there is such a user or not.
  ['POST', /^\/api\/v1\/auth\/forgot-password$/, async ({ body }) => (await users.findByEmail(body.email), 202)],
  ['PATCH', /^\/api\/v1\/users\/me$/, loggedIn((user, { body }) => users.update(user.id, body))],
  ['DELETE', /^\/api\/v1\/users\/me$/, loggedIn(async (user) => (await users.delete(user.id), 204))],
  ['GET', /^\/api\/v1\/profile$/, loggedIn(async (user) => (await profiles.findByUserId(user.id)) ?? 404)],
  ['PUT', /^\/api\/v1\/profile$/, loggedIn((user, { body }) => profiles.update(user.id, body))],
  ['DELETE', /^\/api\/v1\/oauth$/, loggedIn(async (user) => ({ job: await accounts.unlinkAll(user.id) }))],
  [
    'GET',
    /^\/api\/v1\/oauth\/(\w+)$/,
    loggedIn(async (user, { params }) => (await accounts.findByProvider(user.id, params[0]!)) ?? 404),
  ],
  [
    'PUT',
    /^\/api\/v1\/oauth\/(\w+)$/,
    loggedIn(async (user, { params, body }) => {
      await accounts.link(user.id, params[0]!, body.accountId, body.accessToken);
      return 204;
    }),
  ],

  // Hydrant loads from these. Users come with their hash, on purpose: what may be cached is decided in hydrant.yaml.
  [
    'GET',
    /^\/internal\/users\/([\w-]+)$/,
    internal(async ({ params }) => (await queryOne<object>('select * from users where id = $1', params)) ?? 404),
  ],
  ['GET', /^\/internal\/profiles\/([\w-]+)$/, internal(async ({ params }) => (await profiles.load(params[0]!)) ?? 404)],
  ['GET', /^\/internal\/sessions\/current$/, async ({ token }) => (await sessions.load(token)) ?? 404],
  ['DELETE', /^\/internal\/sessions$/, internal(async () => ({ job: await sessions.deleteAll() }))],
  ['GET', /^\/internal\/cache$/, internal(async () => ({ ...cacheService.metrics(), hydrant: isConnected() }))],
];

const server = createServer(async (request, response) => {
  const answer = await answerTo(request).catch((error: Error) => (console.error(error.message), 500));
  if (typeof answer === 'number') return response.writeHead(answer).end();
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
});

async function answerTo(request: IncomingMessage): Promise<Answer> {
  const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  for (const [method, path, route] of ROUTES) {
    const found = request.method === method && path.exec(request.url ?? '');
    if (found) return route({ token, params: found.slice(1), body: await readBody(request) });
  }
  return 404;
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request) {
    parts.push(part);
    if ((bytes += part.length) > 4 * 1024 * 1024) throw new Error('a body over 4 MiB');
  }
  return bytes ? JSON.parse(Buffer.concat(parts).toString()) : {};
}

isConnected();
server.listen(Number(process.env.PORT || 3001), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
