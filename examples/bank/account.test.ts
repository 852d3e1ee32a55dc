import { describe, test } from 'vitest';
import { decision, readsGolden } from 'tallystick/testing';
import { accountDecider, type AccountEvent } from './account.ts';

const opened: AccountEvent = { type: 'opened', data: { owner: 'Ada' } };
const deposited = (cents: number): AccountEvent => ({
  type: 'deposited',
  data: { cents, currency: 'EUR' },
});
const account = decision(accountDecider);

describe('an account', () => {
  test('takes money once it is open', async () => {
    await account.given(opened).when({ kind: 'deposit', cents: 5 }).thenDecides(deposited(5));
    await account.when({ kind: 'deposit', cents: 5 }).thenRefuses('not-open');
  });

  test('gives no more than there is', async () => {
    const rich = account.given(opened, deposited(500));
    await rich
      .when({ kind: 'withdraw', cents: 500 })
      .thenIs({ status: 'open', owner: 'Ada', cents: 0 });
    await rich.when({ kind: 'withdraw', cents: 501 }).thenRefuses('insufficient-funds');
    await rich
      .when({ kind: 'send', transfer: 't', to: 'bob', cents: 501 })
      .thenRefuses('insufficient-funds');
  });

  test('is closed when it is empty, and may be opened again', async () => {
    await account.given(opened, deposited(1)).when({ kind: 'close' }).thenRefuses('not-empty');
    await account
      .given(opened)
      .when({ kind: 'close' })
      .when({ kind: 'open', owner: 'Eve' })
      .thenIs({ status: 'open', owner: 'Eve', cents: 0 });
    await account.given(opened).when({ kind: 'open', owner: 'Eve' }).thenRefuses('already-open');
  });

  test('that is not open declines what it is sent, and says so as a decision', async () => {
    const money = { transfer: 't', from: 'ada', cents: 5 };
    await account
      .when({ kind: 'receive', ...money })
      .thenDecides({ type: 'declined', data: money });
    await account
      .given(opened)
      .when({ kind: 'receive', ...money })
      .thenDecides({ type: 'received', data: money });
  });

  test('reads its history as it was', () =>
    readsGolden(accountDecider, new URL('golden/', import.meta.url)));
});
