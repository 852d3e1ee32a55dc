import { catalogue } from './catalogue.ts';
import { layOut, sectors, type Compass, type Mark } from './compass/layout.ts';
import { compassScript } from './compass/script.ts';
import { compassStyle } from './compass/style.ts';
import type { Known } from './fact.ts';
import { sizeText } from './requirements.ts';
import { sources } from './sources.ts';
import {
  dataModels,
  durabilities,
  guarantees,
  reaches,
  transactionScopes,
  type CapClass,
} from './system.ts';
import { hostings } from './workload.ts';

const SECTOR_SAYS: Readonly<Record<CapClass, string>> = {
  CP: 'parted, it refuses rather than disagrees',
  AP: 'parted, it answers, and may disagree',
  CA: 'one node: nothing that parts, nothing that takes over',
};
const SECTOR_NAMES: Readonly<Record<CapClass, string>> = {
  CP: 'Consistent',
  AP: 'Available',
  CA: 'Single node',
};

/**
 * The CAP compass as one HTML page that needs nothing else: each system of the catalogue in each of its configurations,
 * with filters, and its facts behind a click. Nothing is loaded from anywhere; links lead to the documents.
 */
export function compassPage(): string {
  const compass = layOut(catalogue);
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width,initial-scale=1">',
    '<title>The CAP compass</title>',
    `<style>${compassStyle}</style></head><body>`,
    '<header><h1>The CAP compass</h1>',
    '<p>CAP is of a configuration, never of a product: the same system stands in several places, depending on how it is replicated and asked. Pick what you need; what does not fit fades. What nobody has looked up says so.</p></header>',
    filters(),
    '<main>',
    picture(compass),
    '<aside aria-live="polite"></aside></main>',
    `<script type="application/json" id="data">${json(compass.marks)}</script>`,
    `<script>${compassScript}</script>`,
    '</body></html>\n',
  ].join('\n');
}

function filters(): string {
  const select = (name: string, label: string, words: readonly string[]): string =>
    `<label>${label}<select name="${name}"><option value="">any</option>${words
      .map((word) => `<option>${word}</option>`)
      .join('')}</select></label>`;
  return [
    '<form>',
    '<label>system<input name="words" type="search" placeholder="postgres"></label>',
    select('model', 'data model', dataModels),
    select('guarantee', 'consistency', guarantees),
    select('durability', 'durability, at least', durabilities),
    select('transactions', 'transactions, at least', transactionScopes),
    select('reach', 'reach, at least', reaches),
    select('run', 'hosting', hostings),
    '<output id="count"></output></form>',
  ].join('');
}

function picture({ radius, marks }: Compass): string {
  const side = radius + 34;
  const point = (degrees: number, length: number): string =>
    `${(Math.cos((degrees * Math.PI) / 180) * length).toFixed(1)} ${(-Math.sin((degrees * Math.PI) / 180) * length).toFixed(1)}`;
  const areas = (Object.entries(sectors) as [CapClass, number][]).map(
    ([cap, start]) =>
      `<path class="${cap}-area" d="M0 0 L${point(start, radius)} A${radius} ${radius} 0 0 0 ${point(start + 120, radius)} Z"/>` +
      `<line class="spoke" x1="0" y1="0" ${attributes(point(start, radius))}/>`,
  );
  return [
    `<svg viewBox="${-side} ${-side} ${2 * side} ${2 * side}" role="img" aria-label="Systems by CAP class">`,
    `<circle class="disc" r="${radius}"/>`,
    ...areas,
    ...(Object.keys(sectors) as CapClass[]).map((cap) => sectorTitle(cap, radius)),
    ...marks.map((mark, index) => chip(mark, index)),
    '</svg>',
  ].join('\n');
}

function attributes(end: string): string {
  const [x = '0', y = '0'] = end.split(' ');
  return `x2="${x}" y2="${y}"`;
}

/** The names stand outside the rows: the upper two in the corners of the picture, the third at the foot of the circle. */
function sectorTitle(cap: CapClass, radius: number): string {
  const anchor = { CP: 'start', AP: 'end', CA: 'middle' }[cap];
  const x = cap === 'CA' ? 0 : (radius + 30) * (cap === 'CP' ? -1 : 1);
  const y = cap === 'CA' ? radius * 0.84 : -radius * 0.94;
  const at = `x="${x}" text-anchor="${anchor}"`;
  return (
    `<text class="title ${cap}" ${at} y="${y.toFixed(0)}">${cap} · ${SECTOR_NAMES[cap]}</text>` +
    `<text class="under" ${at} y="${(y + 22).toFixed(0)}">${SECTOR_SAYS[cap]}</text>`
  );
}

function chip({ system, configuration, x, y, width }: Mark, index: number): string {
  const label = `${system.name}, ${configuration.id}`;
  return (
    `<g class="mark ${configuration.cap.value}" data-at="${index}" tabindex="0" role="button" aria-label="${escaped(label)}" transform="translate(${x.toFixed(1)} ${y.toFixed(1)})">` +
    `<title>${escaped(`${label}: ${configuration.about}`)}</title>` +
    `<rect y="-9" width="${width.toFixed(1)}" height="18" rx="9"/><circle cx="9" r="2.6"/>` +
    `<text x="15" y="4">${escaped(system.name)}<tspan class="small" dx="4">${escaped(configuration.id)}</tspan></text></g>`
  );
}

/** What the page needs of each mark. `<` is written so that no text can end the script element. */
function json(marks: readonly Mark[]): string {
  const data = {
    ladders: { durability: durabilities, transactions: transactionScopes, reach: reaches },
    marks: marks.map(({ system, configuration }) => ({
      system: system.id,
      configuration: configuration.id,
      title: `${system.name}, ${configuration.id}`,
      about: configuration.about,
      names: [system.id, system.name.toLowerCase(), ...system.aliases],
      cap: configuration.cap.value,
      pacelc: configuration.pacelc.value,
      models: [...system.models.value, ...system.stretches.map(({ model }) => model)],
      guarantees: configuration.guarantees?.value ?? null,
      durability: configuration.durability?.value ?? null,
      transactions: configuration.transactions?.value ?? null,
      reach: configuration.reach?.value ?? null,
      run: system.run.value,
      facts: [
        shown('consistency', configuration.guarantees, (list) =>
          list.length === 0 ? 'eventual' : list.join(', '),
        ),
        shown('durability', configuration.durability, String),
        shown('transactions', configuration.transactions, String),
        shown('reach', configuration.reach, String),
        shown(
          'survives',
          configuration.survives,
          (count) => `${count} failed machine${count === 1 ? '' : 's'}`,
        ),
        shown('CAP', configuration.cap, String),
      ],
      systemFacts: [
        shown('models', system.models, (list) => list.join(', ')),
        shown('queries', system.queries, (list) => list.join(', ')),
        shown('a read', system.readMs, (ms) => `about ${ms} ms`),
        shown('largest item', system.itemBytesMax, sizeText),
        shown('people stop at', system.bytesMax, sizeText),
        shown('licence', system.license, ({ text }) => text),
        shown('driver', system.driver, (name) => name ?? 'none for Node'),
        ...(system.caution === undefined ? [] : [shown('mind', system.caution, String)]),
      ],
      reports: system.tests.map(({ versions, found, fixed, source }) => ({
        versions,
        found,
        fixed,
        title: sources[source].title,
        url: sources[source].url,
      })),
    })),
  };
  return JSON.stringify(data).replaceAll('<', String.raw`\u003c`);
}

function shown<Value>(
  name: string,
  fact: Known<Value>,
  text: (value: Value) => string,
): Readonly<Record<string, string>> {
  if (fact === undefined)
    return { name, value: 'not known', confidence: 'none', title: '', url: '', date: '' };
  const { title, url } = sources[fact.source];
  return {
    name,
    value: text(fact.value),
    confidence: fact.confidence,
    title,
    url,
    date: fact.date,
  };
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
