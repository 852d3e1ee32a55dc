import type { TallyApp } from 'tallystick';
import { bankApp, type BankStores } from './app.ts';

// The bank for the command line: `tally up examples/bank/tally.ts`, `tally events show examples/bank/tally.ts account-ada`.

const bank: TallyApp<BankStores> = bankApp(process.env['BANK_DIR'] ?? '.tally/bank');
export { bank as default };
