import { existsSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const MIB = 2 ** 20;
const SAMPLE_MS = 50;

/** What a process took while it worked. */
export interface Usage {
  readonly seconds: number;
  /** Of one core. */
  readonly cpuPercent: number;
  /** Of all cores, by everything on the machine. */
  readonly machineBusyPercent: number;
  /** The most that was resident since the process began, as the system counts it. */
  readonly peakRssMiB: number;
  /** Where the memory was when most of it was resident. */
  readonly atPeak: Readonly<Record<string, number>>;
  /** What stayed after everything that nobody needs was collected. */
  readonly afterCollection: Readonly<Record<string, number>>;
}

/** Watches this process. */
export class UsageMeter {
  readonly #startedMs = performance.now();
  readonly #cpu = process.cpuUsage();
  readonly #machine = machineTimes();
  #peak: NodeJS.MemoryUsage = process.memoryUsage();

  constructor() {
    const sample = setInterval(() => {
      const now = process.memoryUsage();
      if (now.rss > this.#peak.rss) this.#peak = now;
    }, SAMPLE_MS);
    sample.unref();
  }

  /** What it took so far. Collects everything that nobody needs: to be asked once, at the end. */
  end(): Usage {
    const milliseconds = performance.now() - this.#startedMs;
    const { user, system } = process.cpuUsage(this.#cpu);
    const machine = machineTimes();
    const total = machine.total - this.#machine.total;
    const peakRssMiB = Math.round(peakRssBytes() / MIB);
    setFlagsFromString('--expose-gc');
    (runInNewContext('gc') as () => void)();
    return {
      seconds: Math.round(milliseconds / 10) / 100,
      cpuPercent: Math.round((user + system) / milliseconds / 10),
      machineBusyPercent: Math.round((1 - (machine.idle - this.#machine.idle) / total) * 100),
      peakRssMiB,
      atPeak: inMib(this.#peak),
      afterCollection: inMib(process.memoryUsage()),
    };
  }
}

/** Linux counts the parent before exec into resourceUsage().maxRSS; the high-water mark is this process alone. */
function peakRssBytes(): number {
  const file = '/proc/self/status';
  const status = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const found = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return (found === undefined ? process.resourceUsage().maxRSS : Number(found)) * 1024;
}

function inMib(usage: NodeJS.MemoryUsage): Record<string, number> {
  return Object.fromEntries(
    Object.entries(usage).map(([name, bytes]) => [name, Math.round(Number(bytes) / MIB)]),
  );
}

function machineTimes(): { readonly idle: number; readonly total: number } {
  let [idle, total] = [0, 0];
  for (const { times } of cpus()) {
    idle += times.idle;
    total += times.user + times.nice + times.sys + times.idle + times.irq;
  }
  return { idle, total };
}
