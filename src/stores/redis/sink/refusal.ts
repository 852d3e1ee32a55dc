import { TallyError } from '../../../core/errors.ts';

/** Turns a script's answer that is not `ok` into the error that it means. */
export function checkReply(
  answer: unknown,
  about: { readonly flow: string; readonly workerEpoch: number; readonly where: string },
): readonly unknown[] {
  const reply: readonly unknown[] = Array.isArray(answer) ? answer : [answer];
  const [status, first = '', second = ''] = reply.map((part, index) =>
    index < 3 ? String(part) : '',
  );
  const { flow, workerEpoch, where } = about;
  switch (status) {
    case 'ok':
      return reply.slice(1);
    case 'fenced':
      throw new TallyError('FENCED_OUT', {
        what: `a worker of epoch ${first} has taken over flow ${flow} from ${workerEpoch}`,
        where,
        mend: 'stop this worker; it may go on only under a newer lease',
        details: { flow, holder: Number(first), workerEpoch },
      });
    case 'moved':
      throw new TallyError('CONDITION_FAILED', {
        what: `Redis does not hold what flow ${flow} left there: it was emptied, restored, or failed over to a replica that lacked the last writes`,
        where,
        mend: 'nothing: the flow opens the target again and goes on from what is there, or fills it anew',
        details: { flow, lostWrites: true, heldEpoch: first, heldMark: second },
      });
    case 'generation':
      throw oneGeneration(flow, where);
    case 'taken': {
      const [other = '', kind = ''] = second.split('\n');
      throw new TallyError('CONFIG_INVALID', {
        what:
          other === flow
            ? `this target was filled as ${kind}, and is declared otherwise now`
            : 'another flow has filled this target',
        where: `target ${first} of ${where}, opened by flow ${flow}`,
        mend: `give it a name of its own; or, if what it holds is no longer wanted, remove the keys of the target and its field in the hash _tally:targets: it is then filled anew`,
        details: { target: first, flow, other, kind },
      });
    }
    default:
      throw new TallyError('INTERNAL', { what: `a script answered ${String(status)}`, where });
  }
}

export function oneGeneration(flow: string, where: string): TallyError {
  return new TallyError('CAPABILITY_MISSING', {
    what: `flow ${flow} can have one generation only: readers find rows by their keys, and two cannot share them`,
    where,
    mend: 'run tally resnapshot, which compares every row in place, or let a new flow fill a new target',
    details: { capability: 'switchOver', flow },
  });
}
