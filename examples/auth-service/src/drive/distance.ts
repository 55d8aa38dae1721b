/** Puts a distance between the service and its database: a TCP relay that holds everything back for half a round trip. */
import { connect, createServer, type Socket } from 'node:net';

const HALF_MS = Number(process.env.ROUND_TRIP_MS) / 2;

function relay(from: Socket, to: Socket): void {
  // Timers of one length fire in the order in which they were set, so bytes stay in order.
  from.on('data', (bytes) => setTimeout(() => to.write(bytes), HALF_MS));
  from.on('close', () => setTimeout(() => to.destroy(), HALF_MS));
  from.on('error', () => to.destroy());
}

createServer({ noDelay: true }, (near) => {
  const far = connect({ host: '127.0.0.1', port: Number(process.env.POSTGRES_PORT), noDelay: true });
  relay(near, far);
  relay(far, near);
}).listen(Number(process.env.DISTANCE_PORT), '127.0.0.1');
