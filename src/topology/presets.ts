import { TallyError } from '../core/errors.ts';
import { suggest } from '../core/options.ts';
import { airbnb } from './presets/airbnb.ts';
import { ecommerce } from './presets/ecommerce.ts';
import { netflix } from './presets/netflix.ts';
import { uber1, uber2, uber3 } from './presets/uber.ts';

/** Topologies to begin from, as the YAML that a person would write, with the reason of each choice beside it. */
export const presets: Readonly<Record<string, string>> = {
  ecommerce,
  netflix,
  'uber-1': uber1,
  'uber-2': uber2,
  'uber-3': uber3,
  airbnb,
};

/** The YAML of a preset. `uber` is its last phase. Throws CONFIG_INVALID with the name that was probably meant. */
export function presetText(name: string): string {
  const text = presets[name === 'uber' ? 'uber-3' : name];
  if (text !== undefined && Object.hasOwn(presets, name === 'uber' ? 'uber-3' : name)) return text;
  const names = Object.keys(presets);
  const near = suggest(name, names);
  throw new TallyError('CONFIG_INVALID', {
    what: `there is no preset ${name}`,
    mend: near === undefined ? `use one of ${names.join(', ')}` : `did you mean ${near}?`,
  });
}
