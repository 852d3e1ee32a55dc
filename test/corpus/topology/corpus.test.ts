import { expect, test } from 'vitest';
import { large } from './large.ts';
import { small } from './small.ts';
import { lint } from '../../../src/topology/lint.ts';
import { rules } from '../../../src/topology/rules.ts';
import { readTopology } from '../../../src/topology/topology.ts';

const corpus = [...small, ...large];

function found(text: string): readonly string[] {
  const { topology, problems } = readTopology(text, 'corpus.yaml');
  expect(problems).toEqual([]);
  const result = topology === undefined ? undefined : lint(topology, { today: '2026-11-30' });
  return (result?.findings ?? []).map(({ id, subject }) => `${id} ${subject}`);
}

test.each(small.map((one) => [one.name, one] as const))('%s', (_name, { text, expected }) => {
  expect(found(text).toSorted()).toEqual(expected.toSorted());
});

test('precision and recall over the labelled corpus', () => {
  let right = 0;
  let wrong = 0;
  let missed = 0;
  const lines: string[] = [];
  for (const { name, text, expected } of corpus) {
    const told = found(text);
    right += told.filter((finding) => expected.includes(finding)).length;
    for (const finding of told.filter((one) => !expected.includes(one))) {
      wrong += 1;
      lines.push(`  not labelled: ${finding} (${name})`);
    }
    for (const finding of expected.filter((one) => !told.includes(one))) {
      missed += 1;
      lines.push(`  missed: ${finding} (${name})`);
    }
  }
  const precision = right / (right + wrong);
  const recall = right / (right + missed);
  console.log(
    `corpus: ${corpus.length} topologies, ${right + missed} labels; precision ${precision.toFixed(3)}, recall ${recall.toFixed(3)}\n${lines.join('\n')}`,
  );
  expect(precision).toBeGreaterThanOrEqual(0.9);
  expect(recall).toBeGreaterThanOrEqual(0.9);
});

test('every rule has a topology of the corpus that it is right about', () => {
  const covered = new Set(
    corpus.flatMap(({ expected }) => expected.map((one) => one.split(' ')[0])),
  );
  const elsewhere = ['call-without-timeout', 'no-restore-evidence'];
  expect(rules.map(({ id }) => id).filter((id) => !covered.has(id))).toEqual(elsewhere);
});
