import { writeFile } from 'node:fs/promises';
import { checkOneOf } from '../../core/options.ts';
import { mermaidOf } from '../../topology/draw/mermaid.ts';
import { svgOf } from '../../topology/draw/svg.ts';
import { presets, presetText } from '../../topology/presets.ts';
import type { Command } from '../command.ts';
import { loadTopology } from '../topology.ts';

const formats = ['svg', 'mermaid', 'yaml'] as const;

/** `tally draw`: a topology as a picture. */
export const drawCommand: Command = {
  usage: 'tally draw FILE',
  about: `Draw a topology (YAML, an application, or a preset: ${Object.keys(presets)
    .map((name) => `preset:${name}`)
    .join(', ')}).`,
  options: {
    format: {
      takes: 'FORMAT',
      about: 'svg (default), mermaid, or yaml: the text of a preset, to begin from',
    },
    out: { takes: 'FILE', about: 'write it there instead of to standard output' },
  },
  rest: { min: 0, max: 0 },
  file: 'optional',
  run: async (call, { out, say }) => {
    const format = checkOneOf(call.options['format'] ?? 'svg', '--format', formats);
    const file = call.file ?? 'topology.yaml';
    const text = await drawn(file, format);
    const { out: to } = call.options;
    if (typeof to === 'string') {
      await writeFile(to, text);
      say(`${to} holds ${file} as ${format}`);
    }
    if (call.json)
      out(JSON.stringify({ format, ...(typeof to === 'string' ? { file: to } : { text }) }));
    else if (typeof to !== 'string') out(text.trimEnd());
    return 0;
  },
};

async function drawn(file: string, format: (typeof formats)[number]): Promise<string> {
  if (format === 'yaml') return presetText(file.replace(/^preset:/, ''));
  const topology = await loadTopology(file);
  return format === 'svg' ? svgOf(topology) : mermaidOf(topology);
}
