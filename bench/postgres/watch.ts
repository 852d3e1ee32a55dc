import { child, type Child } from '../flow/process.ts';
import type { TrafficSeen, TrafficSettings } from './messages.ts';

/** Lets a process of its own write at a steady rate and look at where the rows arrive. */
export async function watchTraffic(settings: TrafficSettings): Promise<TrafficSeen> {
  await using traffic: Child<never, TrafficSeen> = child('../postgres/traffic.ts', settings);
  const seen = await traffic.next();
  await traffic.end();
  return seen;
}
