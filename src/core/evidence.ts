import { TallyError } from './errors.ts';
import { position, type Position } from './position.ts';

/**
 * What a write left behind: positions, at most one per (lane, epoch). Immutable. A lane is named
 * by its store (and, where a store has several, its part: `events/3`). The positions of a lane
 * stand in the order of their epochs; a lane that is present has at least one.
 */
export type Evidence = ReadonlyMap<string, readonly Position[]>;

/**
 * Most histories of one lane that evidence keeps side by side. A fifth is refused with
 * EVIDENCE_TOO_LARGE, never dropped: evidence without its oldest epoch asks for less than was
 * written, and a barrier would then call a target fresh that lacks that write. Four are three
 * restores or failovers within the life of one request; evidence that lives longer than that
 * has outlived what it was taken for, and has to be taken again.
 */
export const EPOCHS_PER_LANE_MAX = 4;

/** Characters of the longest lane name. */
export const LANE_CHARACTERS_MAX = 64;

/** Most forks that {@link coversEvidence} walks back from one epoch. */
const ANCESTORS_MAX = 64;

const LANE_NAME = /^[A-Za-z0-9_.:/-]{1,64}$/;

/**
 * How one history of a lane began: everything of `parent` up to and with `upTo` is part of it, at the same
 * offsets. What was captured under the parent's epoch may end before that.
 */
export interface Fork {
  /** The epoch it forked from, always a smaller number. */
  readonly parent: number;
  /** The last offset of the parent that belongs to both. */
  readonly upTo: number;
}

/** What an adapter knows of how the histories of a lane relate; undefined: nothing. */
export type Relation = (lane: string, epoch: number) => Fork | undefined;

/**
 * Whether evidence contains other evidence. `behind`: not yet, and it still can. `incomparable`:
 * it cannot be said, or is known never to come, so that waiting does not help.
 */
export type Coverage = 'covered' | 'behind' | 'incomparable';

/** One needed position that is not covered. */
export interface Lag {
  readonly lane: string;
  readonly state: 'behind' | 'incomparable';
  readonly need: Position;
  /** What there is in that lane; empty if nothing. */
  readonly have: readonly Position[];
  /** Offsets missing; only where the lane has a position in the needed epoch. */
  readonly byOffsets?: number;
}

/** Whether `name` can name a lane: 1 to 64 of `A–Z a–z 0–9 _ . : / -`. */
export function isLaneName(name: string): boolean {
  return LANE_NAME.test(name);
}

/** Evidence of nothing: covered by anything, and changes nothing it is merged with. */
export const noEvidence: Evidence = new Map();

/**
 * Evidence of the given positions; of several in one (lane, epoch) the furthest. Throws
 * CONFIG_INVALID for a lane name that {@link isLaneName} refuses, POSITION_OUT_OF_RANGE, and
 * EVIDENCE_TOO_LARGE past {@link EPOCHS_PER_LANE_MAX}.
 */
export function evidenceOf(
  lanePositions: Iterable<readonly [lane: string, position: Position]>,
): Evidence {
  const merged = new Map<string, readonly Position[]>();
  for (const [lane, at] of lanePositions) {
    if (!isLaneName(lane)) throw badLane(lane);
    add(merged, lane, [position(at.epoch, at.offset)]);
  }
  return merged;
}

/**
 * All of the given evidence together: the furthest position of each (lane, epoch). Commutative,
 * associative, idempotent. Throws EVIDENCE_TOO_LARGE past {@link EPOCHS_PER_LANE_MAX}.
 */
export function mergeEvidence(...parts: readonly Evidence[]): Evidence {
  const [first = noEvidence, ...others] = parts.filter((part) => part.size > 0);
  if (others.length === 0) return first;
  const merged = new Map(first);
  for (const part of others) for (const [lane, positions] of part) add(merged, lane, positions);
  return merged;
}

/**
 * Whether `have` contains `need`. A lane that `have` lacks is behind; so is one whose position in
 * the needed epoch, or in an epoch that the needed one forked from, is still before it. A lane with
 * only unrelated epochs is incomparable, and so is a position on a branch that `have` left at an
 * earlier fork: it will never come.
 *
 * One incomparable position makes the whole answer `incomparable`, even where others are behind:
 * `behind` tells the caller that waiting can end well, and here it cannot.
 */
export function coversEvidence(have: Evidence, need: Evidence, relation?: Relation): Coverage {
  let answer: Coverage = 'covered';
  for (const [lane, positions] of need) {
    const reached = have.get(lane) ?? [];
    for (const wanted of positions) {
      const state = compare(lane, reached, wanted, relation);
      if (state === 'incomparable') return state;
      if (state === 'behind') answer = state;
    }
  }
  return answer;
}

/** Every needed position that `have` does not cover, for outcomes and messages; none if covered. */
export function lagBehind(have: Evidence, need: Evidence, relation?: Relation): readonly Lag[] {
  const lags: Lag[] = [];
  for (const [lane, positions] of need) {
    const reached = have.get(lane) ?? [];
    for (const wanted of positions) {
      const state = compare(lane, reached, wanted, relation);
      if (state === 'covered') continue;
      const same = reached.find((at) => at.epoch === wanted.epoch);
      const by = same === undefined ? {} : { byOffsets: wanted.offset - same.offset };
      lags.push({ lane, state, need: wanted, have: reached, ...by });
    }
  }
  return lags;
}

/**
 * The part of `evidence` that `heads` (the furthest position known of each lane and epoch) bears
 * out: no position above its head, no lane and no epoch without one. For evidence from outside,
 * before it is passed on: a claim about the future would make every reader down the line wait.
 * The result may ask for less than was given; it never asks for more.
 */
export function clampEvidence(evidence: Evidence, heads: Evidence): Evidence {
  const clamped = new Map<string, readonly Position[]>();
  for (const [lane, positions] of evidence) {
    const known = heads.get(lane) ?? [];
    const kept = positions.flatMap((at) => {
      const head = known.find((one) => one.epoch === at.epoch);
      return head === undefined ? [] : [at.offset <= head.offset ? at : head];
    });
    if (kept.length > 0) clamped.set(lane, kept);
  }
  return clamped;
}

function compare(
  lane: string,
  reached: readonly Position[],
  wanted: Position,
  relation: Relation | undefined,
): Coverage {
  if (reached.length === 0) return 'behind';
  let answer: Coverage = 'incomparable';
  let abandoned = false;
  for (const at of reached) {
    if (at.epoch === wanted.epoch) {
      if (at.offset >= wanted.offset) return 'covered';
      answer = 'behind';
      continue;
    }
    if (relation === undefined) continue;
    if (at.epoch > wanted.epoch) {
      const shared = sharedUpTo(lane, at.epoch, wanted.epoch, relation);
      if (shared === undefined) continue;
      if (shared < wanted.offset) abandoned = true;
      else if (at.offset >= wanted.offset) return 'covered';
      else answer = 'behind';
    } else {
      const shared = sharedUpTo(lane, wanted.epoch, at.epoch, relation);
      if (shared !== undefined && at.offset <= shared) answer = 'behind';
    }
  }
  return abandoned ? 'incomparable' : answer;
}

/** The last offset of the epoch `ancestor` that belongs to `epoch`; undefined if not descended. */
function sharedUpTo(
  lane: string,
  epoch: number,
  ancestor: number,
  relation: Relation,
): number | undefined {
  let current = epoch;
  for (let step = 0; step < ANCESTORS_MAX && current > ancestor; step++) {
    const fork = relation(lane, current);
    // Epochs only grow, so a parent that is not older is a broken record: related to nothing.
    if (fork === undefined || fork.parent >= current) return undefined;
    if (fork.parent === ancestor) return fork.upTo;
    current = fork.parent;
  }
  return undefined;
}

function add(
  merged: Map<string, readonly Position[]>,
  lane: string,
  positions: readonly Position[],
): void {
  const present = merged.get(lane);
  if (present === undefined) {
    merged.set(lane, positions);
    return;
  }
  const furthest = new Map(present.map((at) => [at.epoch, at]));
  for (const at of positions) {
    const known = furthest.get(at.epoch);
    if (known === undefined || known.offset < at.offset) furthest.set(at.epoch, at);
  }
  if (furthest.size > EPOCHS_PER_LANE_MAX) throw tooManyEpochs(lane);
  merged.set(
    lane,
    [...furthest.values()].toSorted((left, right) => left.epoch - right.epoch),
  );
}

function tooManyEpochs(lane: string): TallyError {
  return new TallyError('EVIDENCE_TOO_LARGE', {
    what: `the lane has more than ${EPOCHS_PER_LANE_MAX} histories side by side`,
    where: lane,
    mend: 'take new evidence instead of merging into evidence from before several restores',
    details: { lane, epochsMax: EPOCHS_PER_LANE_MAX },
  });
}

function badLane(lane: string): TallyError {
  return new TallyError('CONFIG_INVALID', {
    what: `${JSON.stringify(lane.slice(0, 40))} cannot name a lane`,
    mend: `use 1 to ${LANE_CHARACTERS_MAX} of the characters A-Z a-z 0-9 _ . : / -`,
    details: { characters: lane.length },
  });
}
