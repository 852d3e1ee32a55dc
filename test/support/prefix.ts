import { randomBytes } from 'node:crypto';

/** A beginning of keys (and of names of slots, consumer groups, functions) that nobody else uses. */
export function freshPrefix(): string {
  return `t${randomBytes(6).toString('hex')}:`;
}
