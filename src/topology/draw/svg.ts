import { flowsOf } from '../graph.ts';
import type { Topology } from '../topology.ts';
import { measures, pictureOf, type Box, type Picture } from './layout.ts';

const style = `
.ink{fill:#1c2430}.soft{fill:#5b6675}.box{fill:#fff;stroke:#c9c2b2;stroke-width:1.4}.store .box{fill:#f3efe6}
.call{stroke:#2f6f8f;stroke-width:1.8;fill:none}.async{stroke-dasharray:6 5}
.flow{stroke:#b3632b;stroke-width:1.6;fill:none}.application{stroke:#a3262e;stroke-dasharray:2 4}
text{font:13px ui-sans-serif,system-ui,sans-serif}.name{font-weight:650;font-size:15px}.small{font-size:11px}`;

/** Families by what they hold, in seven colours. */
const COLOURS: Readonly<Record<string, string>> = {
  relational: '#2f6f8f',
  'distributed-sql': '#2f6f8f',
  document: '#6b7a3a',
  'wide-column': '#6b7a3a',
  'key-value': '#b3632b',
  cache: '#b3632b',
  search: '#8a2f4f',
  graph: '#8a2f4f',
  'time-series': '#5a4a8a',
  warehouse: '#5a4a8a',
  log: '#1f7a5c',
  queue: '#1f7a5c',
};

/** The topology as one SVG picture: calls in blue, flows in orange, what the application writes twice in red. */
export function svgOf(topology: Topology): string {
  const picture = pictureOf(topology);
  const { width, height } = picture;
  const foot = height + 26;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${foot}" width="${width}" height="${foot}" role="img" aria-label="${escaped(topology.name)}">`,
    `<style>${style}</style>`,
    '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0 L8 4 L0 8 Z" fill="context-stroke"/></marker></defs>',
    `<rect width="${width}" height="${foot}" fill="#f7f5f0"/>`,
    ...edges(topology, picture),
    ...[...picture.boxes.values()].map(boxOf),
    `<text class="soft small" x="${measures.margin}" y="${height + 8}">${escaped(topology.name)}: blue calls (dashed: nobody waits), orange flows, red dots what the application writes twice</text>`,
    '</svg>\n',
  ].join('\n');
}

function boxOf({ title, rows, kind, x, y, height }: Box): string {
  const { boxWidth, rowHeight, head } = measures;
  return [
    `<g class="${kind}"><rect class="box" x="${x}" y="${y}" width="${boxWidth}" height="${height}" rx="9"/>`,
    `<text class="ink name" x="${x + 14}" y="${y + 25}">${escaped(title)}</text>`,
    ...rows.map(({ text, family }, index) => {
      const middle = y + head + index * rowHeight + 8;
      return `<circle cx="${x + 20}" cy="${middle - 4}" r="4.5" fill="${COLOURS[family] ?? '#5b6675'}"/><text class="soft" x="${x + 32}" y="${middle}">${escaped(cut(text))}</text>`;
    }),
    '</g>',
  ].join('');
}

function edges(topology: Topology, picture: Picture): readonly string[] {
  const drawn: string[] = [];
  for (const { name, calls = [] } of topology.services.values())
    for (const { to, mode } of calls) {
      const [from, target] = [picture.boxes.get(name), picture.boxes.get(to)];
      if (from === undefined || target === undefined) continue;
      drawn.push(
        curve(from, from.y + 19, target, target.y + 19, `call${mode === 'async' ? ' async' : ''}`),
      );
    }
  for (const { flow, from, to } of flowsOf(topology)) {
    const [start, end] = [rowOf(picture, from.id), rowOf(picture, to.id)];
    if (start === undefined || end === undefined) continue;
    drawn.push(
      curve(
        start.box,
        start.y,
        end.box,
        end.y,
        `flow${flow.by === 'application' ? ' application' : ''}`,
      ),
    );
  }
  return drawn;
}

/** From side to side where the boxes stand beside one another, round the right edge where they stand above. */
function curve(from: Box, y1: number, to: Box, y2: number, kind: string): string {
  const { boxWidth } = measures;
  const forward = to.x > from.x;
  const x1 = from.x + (to.x < from.x ? 0 : boxWidth);
  const x2 = to.x + (forward ? 0 : boxWidth);
  const bend = forward || to.x < from.x ? Math.max(40, Math.abs(x2 - x1) / 2) : 46;
  const out = to.x < from.x ? -bend : bend;
  const back = forward ? -bend : bend;
  return `<path class="${kind}" d="M${x1} ${y1} C${x1 + out} ${y1} ${x2 + back} ${y2} ${x2} ${y2}" marker-end="url(#end)"/>`;
}

function rowOf(
  { boxes }: Picture,
  store: string,
): { readonly box: Box; readonly y: number } | undefined {
  for (const box of boxes.values()) {
    const index = box.rows.findIndex((row) => row.store === store);
    if (index !== -1) return { box, y: box.y + measures.head + index * measures.rowHeight + 4 };
  }
  return undefined;
}

function cut(text: string): string {
  return text.length <= 32 ? text : `${text.slice(0, 31)}…`;
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
