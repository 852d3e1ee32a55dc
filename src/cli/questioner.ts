import process from 'node:process';
import { createInterface } from 'node:readline/promises';

/** Asks on the terminal: questions go to standard error, so that standard output holds the answer and nothing else. */
export function questioner(signal: AbortSignal): (question: string) => Promise<string | undefined> {
  return async (question) => {
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return await terminal.question(question, { signal });
    } catch {
      // Ctrl-C or Ctrl-D: nobody answers any more.
      return undefined;
    } finally {
      terminal.close();
    }
  };
}
