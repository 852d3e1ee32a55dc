import { isThere, sharedServer } from './shared.ts';

// Heavy servers have a file each: only a run with tests of theirs starts them.
const kafka = await sharedServer('kafka');

/** Whether a broker can be had: `describe.skipIf(!hasKafka)`. With TALLY_REQUIRE_SERVERS=1 a missing one fails instead. */
export const hasKafka: boolean = isThere('Kafka', kafka);
