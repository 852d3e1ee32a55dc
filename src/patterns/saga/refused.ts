import { TallyError } from '../../core/errors.ts';

/**
 * An error for a step to throw that certainly did not take effect and is not to be tried again: no stock, card
 * declined. The saga is compensated without undoing this step, unless an earlier attempt may have taken effect. Anything
 * else that a step throws leaves it open whether it took effect.
 */
export function refused(
  reason: string,
  options: { readonly details?: Readonly<Record<string, unknown>>; readonly cause?: unknown } = {},
): TallyError {
  return new TallyError('STEP_REFUSED', { what: reason, ...options });
}
