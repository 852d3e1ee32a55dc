import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Whether a file of this name is in the folder of the application. */
export function flag(name: string): boolean {
  return existsSync(join(process.env['SAGA_DIR'] ?? '.', name));
}
