import { TallyError } from '../core/errors.ts';
import { problemText } from '../topology/finding-text.ts';
import { topologyOfApp } from '../topology/from-app.ts';
import { presetText } from '../topology/presets.ts';
import { readTopology, type Topology, type TopologyReading } from '../topology/topology.ts';
import { loadApp } from './load.ts';
import { readText } from './read-file.ts';

const PRESET = /^preset:(.+)$/;
/** Problems that a message lists; the first ones are where people begin. */
const PROBLEMS_SHOWN_MAX = 20;

/**
 * The topology that was named on the command line: a YAML or JSON file, an application (`.ts`, `.js`), or `preset:NAME`.
 * Throws CONFIG_INVALID with every problem and its place, INPUT_INVALID if the file is no document.
 */
export async function loadTopology(file: string): Promise<Topology> {
  const { topology, problems } = await reading(file);
  if (topology !== undefined) return topology;
  const told = problems.slice(0, PROBLEMS_SHOWN_MAX).map((problem) => problemText(problem, file));
  const more = problems.length - told.length;
  throw new TallyError('CONFIG_INVALID', {
    what: `the topology has ${problems.length} problem${problems.length === 1 ? '' : 's'}:\n${told.join('\n')}${
      more === 0 ? '' : `\nand ${more} more`
    }\n`,
    where: file,
    details: { problems },
  });
}

async function reading(file: string): Promise<TopologyReading> {
  const preset = PRESET.exec(file)?.[1];
  if (preset !== undefined) return readTopology(presetText(preset), file);
  if (/\.[cm]?[jt]s$/.test(file)) return topologyOfApp(await loadApp(file), file);
  return readTopology(await readText(file, 'the topology'), file);
}
