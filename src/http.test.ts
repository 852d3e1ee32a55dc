import { once } from 'node:events';
import { createServer, request, type IncomingHttpHeaders, type Server } from 'node:http';
import { connect } from 'node:net';
import * as fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { type Evidence, evidenceOf, noEvidence } from './core/evidence.ts';
import { encodeEvidence } from './core/evidence-token.ts';
import {
  BAGGAGE_BYTES_MAX,
  BAGGAGE_MEMBERS_MAX,
  evidenceFetch,
  evidenceHeaders,
  evidenceMiddleware,
  evidenceRefusals,
  readEvidence,
  withRequestEvidence,
  writeEvidence,
} from './http.ts';
import { addEvidence, currentEvidence, runInContext, withEvidence } from './runtime/context.ts';

const at = (lane: string, offset: number, epoch = 1): Evidence =>
  evidenceOf([[lane, { epoch, offset }]]);
const orders5 = at('orders', 5);
const ours = 'tally-evidence=v1~orders@1.5';

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
});

/** A server on a free port that answers with what `handle` makes of a request; its address. */
async function serve(
  handle: (request: { headers: IncomingHttpHeaders }) => Promise<string> | string,
): Promise<{ port: number; url: string }> {
  const server = createServer((incoming, response) => {
    void Promise.resolve(handle(incoming)).then((body) => response.end(body));
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { port: address.port, url: `http://127.0.0.1:${address.port}/` };
}

/** What the server answers to raw bytes on the wire: only so do malformed headers arrive. */
async function raw(port: number, headerLines: Buffer | string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n');
  socket.write(headerLines);
  socket.write('\r\n\r\n');
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  return answer;
}

/** A handler that shows what a request's own context has become. */
const showContext = (incoming: { headers: IncomingHttpHeaders }): string =>
  withRequestEvidence(incoming, () => {
    addEvidence(at('carts', 1));
    return encodeEvidence(currentEvidence());
  });

describe('reading evidence from a header', () => {
  it.each<[string, Parameters<typeof readEvidence>[0]]>([
    ['alone', { baggage: ours }],
    ['among others', { baggage: `user=5;p=1, ${ours} ,x="y"` }],
    ['with spaces and properties', { baggage: ` tally-evidence = v1~orders@1.5 ;ttl=5;x` }],
    ['percent-encoded by somebody on the way', { baggage: 'tally-evidence=v1~orders%401.5' }],
    ['in one of several headers', { baggage: ['a=1', ours] }],
    ['under a name in other letter case', { Baggage: ours }],
    ['in a Headers object', new Headers({ baggage: ours })],
  ])('finds it %s', (_, headers) => {
    expect(readEvidence(headers)).toStrictEqual({ evidence: orders5 });
  });

  it('finds none where there is none, and leaves others alone whatever they are', () => {
    const before = { ...evidenceRefusals };
    for (const baggage of [undefined, '', ',,', 'a=1', 'a=%', 'x-tally-evidence=v9', `a=${ours}`])
      expect(readEvidence({ baggage })).toStrictEqual({ evidence: noEvidence });
    expect(readEvidence({ baggage: `a=${'x'.repeat(100_000)}` })).toStrictEqual({
      evidence: noEvidence,
    });
    expect(readEvidence(new Headers())).toStrictEqual({ evidence: noEvidence });
    expect(evidenceRefusals).toStrictEqual(before);
  });

  it.each([
    ['nonsense', 'tally-evidence=hello', 'EVIDENCE_MALFORMED'],
    ['no value', 'tally-evidence', 'EVIDENCE_MALFORMED'],
    ['an empty value', 'tally-evidence=', 'EVIDENCE_MALFORMED'],
    ['two of them', `${ours},${ours}`, 'EVIDENCE_MALFORMED'],
    ['two of them, one encoded', `${ours},tally-evidence=v1~orders%401.9`, 'EVIDENCE_MALFORMED'],
    ['broken percent-encoding', 'tally-evidence=v1~%E0%A4%A', 'EVIDENCE_MALFORMED'],
    ['doubled percent-encoding', 'tally-evidence=v1~orders%25401.5', 'EVIDENCE_MALFORMED'],
    ['a percent-bomb', `tally-evidence=${'%25'.repeat(2_000)}`, 'EVIDENCE_MALFORMED'],
    ['a larger percent-bomb', `tally-evidence=${'%41'.repeat(30_000)}`, 'EVIDENCE_TOO_LARGE'],
    ['10 KB', `tally-evidence=v1~${'a'.repeat(10_240)}`, 'EVIDENCE_TOO_LARGE'],
    ['10 KB of others beside it', `${ours},a=${'x'.repeat(10_240)}`, 'EVIDENCE_TOO_LARGE'],
    ['too many members', `${ours}${',a=1'.repeat(BAGGAGE_MEMBERS_MAX)}`, 'EVIDENCE_TOO_LARGE'],
    ['65 lanes', `tally-evidence=v1${manyLanes(65)}`, 'EVIDENCE_TOO_LARGE'],
    ['control characters', 'tally-evidence=v1~or\u0000ders@1.5', 'EVIDENCE_MALFORMED'],
    ['a line break', 'tally-evidence=v1~orders@1.5\r\nX: y', 'EVIDENCE_MALFORMED'],
  ] as const)('refuses %s, and counts it', (_, baggage, code) => {
    const before = { ...evidenceRefusals };
    expect(readEvidence({ baggage })).toStrictEqual({ evidence: noEvidence, refused: code });
    expect(evidenceRefusals).toStrictEqual({ ...before, [code]: before[code] + 1 });
  });

  it('takes a lane named __proto__ as a lane, and nothing else', () => {
    const { evidence } = readEvidence({ baggage: 'tally-evidence=v1~__proto__@1.5' });
    expect([...evidence.keys()]).toStrictEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['epoch']).toBeUndefined();
    expect(readEvidence({ baggage: '__proto__=1,constructor=2' }).evidence.size).toBe(0);
    expect(readEvidence(JSON.parse('{"__proto__":{"baggage":"x"}}')).evidence.size).toBe(0);
  });

  it('leaves out the lanes that the application does not have', () => {
    const baggage = `tally-evidence=v1~orders@1.500~unknown@1.5`;
    const { evidence } = readEvidence({ baggage }, { heads: () => orders5 });
    // Above the head as known here, which may be behind: this request alone waits for it.
    expect(evidence).toStrictEqual(at('orders', 500));
  });

  it('lets an error of the application itself through', () => {
    const heads = (): Evidence => {
      throw new RangeError('heads');
    };
    expect(() => readEvidence({ baggage: ours }, { heads })).toThrow(RangeError);
  });

  it('never throws, whatever is sent', () => {
    const part = fc.constantFrom(
      'tally-evidence',
      '=',
      'v1',
      '~',
      '%',
      '%4',
      '%40',
      ',',
      ';',
      'a@1.1',
    );
    const baggage = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(part).map((parts) => `tally-evidence=v1~${parts.join('')}`),
    );
    fc.assert(
      fc.property(baggage, (given) => {
        const { evidence, refused } = readEvidence({ baggage: given });
        if (refused !== undefined) expect(evidence).toBe(noEvidence);
      }),
      { numRuns: 3_000 },
    );
  });
});

describe('writing evidence to a header', () => {
  it('is read back, beside the members of others, which stay as they are', () => {
    const header = writeEvidence(orders5, 'user=5;p="1", x=%20y');
    expect(header).toBe(`user=5;p="1",x=%20y,${ours}`);
    expect(readEvidence({ baggage: header })).toStrictEqual({ evidence: orders5 });
    expect(writeEvidence(orders5)).toBe(ours);
    expect(writeEvidence(orders5, null)).toBe(ours);
    expect(writeEvidence(orders5, ['a=1', 'b=2'])).toBe(`a=1,b=2,${ours}`);
  });

  it('replaces older evidence, hostile or not, and sends none on where there is none', () => {
    expect(writeEvidence(orders5, `${ours},a=1,tally-evidence=x;y`)).toBe(`a=1,${ours}`);
    expect(writeEvidence(noEvidence, `${ours},a=1`)).toBe('a=1');
    expect(writeEvidence(noEvidence, ours)).toBeUndefined();
    expect(writeEvidence(noEvidence)).toBeUndefined();
  });

  it('is refused rather than cut where the header would be over its limits', () => {
    const tooLarge: unknown = expect.objectContaining({ code: 'EVIDENCE_TOO_LARGE' });
    const room = BAGGAGE_BYTES_MAX - ours.length - 1;
    const full = `a=${'x'.repeat(room - 2)}`;
    expect(writeEvidence(orders5, full)).toHaveLength(BAGGAGE_BYTES_MAX);
    expect(() => writeEvidence(orders5, `${full}x`)).toThrow(tooLarge);
    const members = Array.from({ length: BAGGAGE_MEMBERS_MAX }, (_, index) => `k${index}=1`);
    expect(writeEvidence(orders5, members.slice(1))).toContain(ours);
    expect(() => writeEvidence(orders5, members)).toThrow(tooLarge);
    // What others send, with no evidence beside it, is theirs to bound.
    expect(writeEvidence(noEvidence, `${full}xxx`)).toBe(`${full}xxx`);
  });
});

describe('a request over the wire', () => {
  it('runs in a context with its evidence, apart from all others', async () => {
    const { url } = await serve(showContext);
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, offset) => {
        const baggage = writeEvidence(at('orders', offset)) ?? '';
        return (await fetch(url, { headers: { baggage } })).text();
      }),
    );
    expect(answers).toStrictEqual(answers.map((_, offset) => `v1~carts@1.1~orders@1.${offset}`));
  });

  it('is served as one without evidence if its header is hostile', async () => {
    const { port } = await serve(showContext);
    const hostile: (Buffer | string)[] = [
      `baggage: tally-evidence=v1~${'a'.repeat(10_240)}`,
      `baggage: tally-evidence=${'%25'.repeat(3_000)}`,
      `baggage: ${ours}\r\nbaggage: ${ours}`,
      `baggage: ${ours}\r\nBaggage: tally-evidence=v1~orders@1.9`,
      `baggage: tally-evidence=v1~orders@1.5~orders@1.5`,
      Buffer.from('baggage: tally-evidence=v1~\xff\xfe\x80@1.1', 'latin1'),
      'baggage: tally-evidence=v1~orders@1.5\tx',
      `baggage: ${'tally-evidence=,'.repeat(500)}`,
    ];
    for (const lines of hostile) {
      const before = evidenceRefusals.EVIDENCE_MALFORMED + evidenceRefusals.EVIDENCE_TOO_LARGE;
      expect(await raw(port, lines)).toMatch(/^HTTP\/1\.1 200 OK[^]*\r\nv1~carts@1\.1$/);
      const after = evidenceRefusals.EVIDENCE_MALFORMED + evidenceRefusals.EVIDENCE_TOO_LARGE;
      expect(after).toBe(before + 1);
    }
    // Node itself answers these before any handler runs.
    expect(await raw(port, 'baggage: a\u0000b')).toMatch(/^HTTP\/1\.1 400 /);
    expect(await raw(port, `baggage: ${'x'.repeat(20_000)}`)).toMatch(/^HTTP\/1\.1 431 /);
    expect(await raw(port, 'baggage: tally-evidence=v1~__proto__@1.7')).toContain(
      'v1~__proto__@1.7~carts@1.1',
    );
  });

  it('works as middleware that calls next', async () => {
    const middleware = evidenceMiddleware({ heads: () => at('orders', 100) });
    const { url } = await serve(
      (incoming) =>
        new Promise((resolve) => {
          middleware(incoming, {}, () => {
            setImmediate(() => resolve(encodeEvidence(currentEvidence())));
          });
        }),
    );
    const baggage = 'tally-evidence=v1~elsewhere@1.1~orders@1.5';
    expect(await (await fetch(url, { headers: { baggage } })).text()).toBe('v1~orders@1.5');
    expect(await (await fetch(url)).text()).toBe('v1');
  });

  it('passes on its own writes whole, and what came in up to the known heads only', async () => {
    const inner = await serve((incoming) => String(incoming.headers['baggage']));
    const heads = (): Evidence => at('orders', 40);
    const outer = await serve((incoming) =>
      withRequestEvidence(incoming, async () => {
        addEvidence(at('stock', 7));
        const knowing = evidenceFetch({ heads });
        const headers = { baggage: 'user=5' };
        return `${await (await knowing(inner.url, { headers })).text()} | ${await (
          await evidenceFetch()(new Request(inner.url, { headers }))
        ).text()}`;
      }),
    );
    const baggage = 'tally-evidence=v1~made-up@1.1~orders@1.999999';
    expect(await (await fetch(outer.url, { headers: { baggage } })).text()).toBe(
      'user=5,tally-evidence=v1~orders@1.40~stock@1.7 | user=5,tally-evidence=v1~stock@1.7',
    );
  });
});

describe('an outgoing request', () => {
  it('is sent as it is without a context, and with any fetch', async () => {
    const seen: unknown[] = [];
    const send: typeof fetch = (input, init) => {
      seen.push([input, init]);
      return Promise.resolve(new Response('ok'));
    };
    await evidenceFetch({ fetch: send })('http://stock/', { method: 'POST' });
    expect(seen).toStrictEqual([['http://stock/', { method: 'POST' }]]);
    expect(evidenceHeaders()).toStrictEqual({});
  });

  it('carries the evidence with node:http', async () => {
    const { port } = await serve((incoming) => String(incoming.headers['baggage']));
    const headers = withEvidence(orders5, () => evidenceHeaders());
    const outgoing = request({ port, host: '127.0.0.1', headers }).end();
    const [response] = (await once(outgoing, 'response')) as [AsyncIterable<Buffer>];
    let body = '';
    for await (const chunk of response) body += String(chunk);
    expect(body).toBe(ours);
  });

  it('is refused before it is made with options that are not known or not functions', () => {
    const wrong: object = { head: () => noEvidence };
    expect(() => evidenceFetch(wrong)).toThrow(
      expect.objectContaining({ code: 'CONFIG_UNKNOWN_OPTION' }),
    );
    const heads = noEvidence as unknown as () => Evidence;
    expect(() => evidenceMiddleware({ heads })).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        details: { path: 'evidenceMiddleware.heads' },
      }),
    );
  });

  it('is not sent at all with evidence over its limits', async () => {
    const lanes = Array.from({ length: 65 }, (_, index) => [`l${index}`, { epoch: 1, offset: 1 }]);
    const wide = evidenceOf(lanes as [string, { epoch: number; offset: number }][]);
    const send: typeof fetch = () => Promise.reject(new Error('sent'));
    await expect(
      runInContext(noEvidence, () => {
        addEvidence(wide);
        return evidenceFetch({ fetch: send })('http://stock/');
      }),
    ).rejects.toMatchObject({ code: 'EVIDENCE_TOO_LARGE' });
  });
});

function manyLanes(count: number): string {
  return Array.from(
    { length: count },
    (_, index) => `~l${String(index).padStart(3, '0')}@1.1`,
  ).join('');
}
