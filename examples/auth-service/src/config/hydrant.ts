/** The sidecar of this pod: a client made from its contract at run time, and the calls this service makes. */
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

export interface Member {
  entity: string;
  params: Record<string, string>;
}

export interface AliasValue {
  alias: string;
  params: Record<string, string>;
}

export interface MemberTarget {
  member: Member;
  knownAliases?: AliasValue[];
  minVersion?: { number: number };
  replacement?: { value: Buffer; version: { number: number } };
}

export type Target = { member: MemberTarget } | { pattern: { pattern: string } };

export interface Invalidated {
  state: 'done' | 'pending' | 'preview';
  pending?: { jobId: string };
  counts?: { matched: number; removed: number; replaced: number; superseded: number };
}

export interface Job {
  state: string;
}

const PROTO = process.env.HYDRANT_PROTO || fileURLToPath(new URL('../../../../proto', import.meta.url));
const contract = loadSync('hydrant/v1/control_service.proto', {
  includeDirs: [PROTO],
  longs: Number,
  enums: String,
  oneofs: true,
});
const { CacheControlService } = (grpc.loadPackageDefinition(contract) as any).hydrant.v1;
const client = new CacheControlService(
  process.env.HYDRANT_ADDRESS || '127.0.0.1:4770',
  grpc.credentials.createInsecure(),
  // A sidecar that restarts is back in a moment; the usual waits grow to two minutes.
  { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 1000 },
);

/** Asked at the start, it also connects, so that the first login does not wait for that. */
export const isConnected = () => client.getChannel().getConnectivityState(true) === grpc.connectivityState.READY;

/** This user is about to be read. Answered once it is queued, and never a reason to fail a login. */
export function prehydrate(userId: string, sessionToken: string): void {
  const request = { subject: { userId, sessionToken } };
  call('Prehydrate', request, 1000).catch((error) => console.warn('prehydrate:', error.message));
}

export function invalidate(targets: Target[], mode: 'REMOVE' | 'REPLACE', reason: string): Promise<Invalidated> {
  return call<Invalidated>('Invalidate', { targets, mode: `INVALIDATE_MODE_${mode}`, reason }, 1000);
}

/** Waits for what could not be finished at once: a pattern, for which Redis is scanned. */
export function jobEnd(jobId: string, seconds: number): Promise<Job> {
  return new Promise((resolve, reject) => {
    const states = client.WatchJob({ jobId }, { deadline: Date.now() + seconds * 1000 });
    let last: Job = { state: 'unknown' };
    states.on('data', (answer: { job: Job }) => (last = answer.job));
    states.on('end', () => resolve(last));
    states.on('error', reject);
  });
}

function call<T>(method: string, request: object, milliseconds: number): Promise<T> {
  return new Promise((resolve, reject) => {
    client[method](request, { deadline: Date.now() + milliseconds }, (error: Error | null, answer: T) =>
      error ? reject(error) : resolve(answer),
    );
  });
}
