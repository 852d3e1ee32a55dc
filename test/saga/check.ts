import type { SagaView } from '../../src/patterns/saga/index.ts';
import type { World } from './world.ts';

/**
 * What must hold of a saga that has ended, whatever happened: completed, every effect stands once; compensated, none
 * does; recorded at most once what happened at most once; and nothing was undone after the point of no return.
 */
export function violationsOf(world: World, view: SagaView, steps: readonly string[]): string[] {
  const violations: string[] = [];
  const { id, status, history } = view;
  const standing = steps.filter((path) => world.participant.has(`${id}/${path}`));
  if (status === 'completed' && standing.length !== steps.length)
    violations.push(`${id} is completed, but only ${standing.join(', ')} stand`);
  if (status === 'compensated' && standing.length > 0)
    violations.push(`${id} is compensated, but ${standing.join(', ')} stand`);
  const done = history.flatMap((entry) => (entry.kind === 'done' ? [entry.path] : []));
  const undone = history.flatMap((entry) => (entry.kind === 'undone' ? [entry.path] : []));
  for (const [what, paths] of [
    ['done', done],
    ['undone', undone],
  ] as const)
    for (const path of paths)
      if (paths.indexOf(path) !== paths.lastIndexOf(path))
        violations.push(`${id}: ${path} is recorded as ${what} twice`);
  const turned = history.findIndex(({ kind }) => kind === 'failing');
  const committed = history.findIndex((entry) => 'commits' in entry && entry.commits);
  if (turned !== -1 && committed !== -1 && committed < turned)
    violations.push(`${id} went back after its point of no return`);
  const last = history.at(-1)?.kind;
  if (last !== 'ended' && ['completed', 'compensated', 'abandoned'].includes(status))
    violations.push(`${id} is ${status}, but its journal ends in ${last}`);
  return violations;
}
