/** A worker as a process of its own, until it is killed: FOLDER, OWNER, TARGET. */
import { openCopy } from '../support/postgres-app.ts';

const [dir = '', from = '', to = ''] = process.argv.slice(2);
await openCopy({ dir, from, to });
process.stdout.write('ready\n');
setInterval(() => undefined, 60_000);
