import { join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Frames that are kept: a driver and an ORM lie between a query and the loop that makes it. */
const FRAMES_MAX = 30;

/** The folder of these sources, or of what they were compiled to. */
const OWN = join(import.meta.dirname, '..', '..') + sep;

/** Where a query was made, told only when somebody asks: V8 makes the text of a stack then. */
export interface Site {
  /** `file:line:column` of the first frame that is the application's own; undefined if there is none. */
  readonly at: string | undefined;
}

/** The present call site. Costs a few microseconds: for development, tests and samples. */
export function captureSite(): Site {
  const holder: { stack?: string } = {};
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = FRAMES_MAX;
  Error.captureStackTrace(holder, captureSite);
  Error.stackTraceLimit = before;
  return {
    get at(): string | undefined {
      return siteIn(holder.stack ?? '');
    },
  };
}

/** The first frame of the application in a stack of V8. */
function siteIn(stack: string): string | undefined {
  for (const line of stack.split('\n')) {
    const found =
      /(?:\(|at (?:async )?)((?:file:\/\/)?\/[^()]*|[A-Za-z]:\\[^()]*):(\d+):(\d+)\)?$/.exec(line);
    if (found === null) continue;
    const [, url = '', row = '', column = ''] = found;
    const file = url.startsWith('file:') ? fileURLToPath(url) : url;
    if (isApplication(file)) return `${file}:${row}:${column}`;
  }
  return undefined;
}

function isApplication(file: string): boolean {
  if (file.includes(`${sep}node_modules${sep}`)) return false;
  return !file.startsWith(OWN) || file.endsWith('.test.ts');
}
