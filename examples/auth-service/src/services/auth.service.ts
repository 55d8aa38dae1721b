import { randomBytes, scrypt as scryptCallback, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import jwt from 'jsonwebtoken';
import { prehydrate } from '../config/hydrant.js';
import { SessionRepository } from '../repositories/session.repository.js';
import { UserRepository, type User } from '../repositories/user.repository.js';

const scrypt = promisify<string, Buffer, number, Buffer>(scryptCallback);
const SECRET = process.env.JWT_SECRET!;

export interface Tokens {
  accessToken: string;
  refreshToken: string;
}

export class AuthService {
  constructor(
    private users: UserRepository,
    private sessions: SessionRepository,
  ) {}

  async register(email: string, name: string, password: string): Promise<User> {
    const salt = randomBytes(16);
    const hash = await scrypt(password, salt, 32);
    return this.users.create(email, name, `${salt.toString('hex')}$${hash.toString('hex')}`);
  }

  /** From the database alone; Hydrant fills what the next requests will read. */
  async login(email: string, password: string): Promise<Tokens | null> {
    const found = await this.users.findCredentials(email);
    if (!found || !(await verify(password, found.passwordHash))) return null;
    const tokens = { accessToken: makeToken(found.id), refreshToken: randomBytes(32).toString('base64url') };
    await this.sessions.create(found.id, tokens.accessToken, tokens.refreshToken);
    prehydrate(found.id, tokens.accessToken);
    return tokens;
  }

  /** The hot path: every request with a token comes through here. */
  async authenticate(token: string): Promise<User | null> {
    try {
      jwt.verify(token, SECRET, { algorithms: ['HS256'] });
    } catch {
      return null;
    }
    const session = await this.sessions.findByToken(token);
    return session && new Date(session.expiresAt) > new Date() ? this.users.findById(session.userId) : null;
  }

  async refresh(refreshToken: string): Promise<Tokens | null> {
    const refreshed = await this.sessions.refresh(refreshToken, makeToken);
    if (!refreshed) return null;
    prehydrate(refreshed.userId, refreshed.token);
    return { accessToken: refreshed.token, refreshToken };
  }
}

function makeToken(userId: string): string {
  return jwt.sign({ jti: randomBytes(12).toString('base64url') }, SECRET, { subject: userId, expiresIn: '1h' });
}

async function verify(password: string, hash: string): Promise<boolean> {
  const [salt, digest] = hash.split('$').map((part) => Buffer.from(part, 'hex'));
  return timingSafeEqual(await scrypt(password, salt!, 32), digest!);
}
