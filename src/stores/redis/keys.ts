/** Slots of a cluster. */
const SLOTS = 16_384;

/** CRC16 as the cluster specification has it (XMODEM: polynomial 0x1021, from 0), one byte at a time. */
const table: Uint16Array = Uint16Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 8;
  for (let bit = 0; bit < 8; bit += 1)
    value = ((value << 1) ^ ((value & 0x8000) === 0 ? 0 : 0x1021)) & 0xffff;
  return value;
});

/**
 * The slot of a key in a cluster: of what stands between its first `{` and the next `}`, if there is
 * anything, else of the whole (redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec).
 */
export function slotOf(key: string): number {
  const open = key.indexOf('{');
  const close = open === -1 ? -1 : key.indexOf('}', open + 1);
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0;
  for (const byte of Buffer.from(hashed))
    crc = ((crc << 8) & 0xffff) ^ (table[(crc >> 8) ^ byte] ?? 0);
  return crc % SLOTS;
}

let tags: readonly string[] | undefined;

/** A short text that, in braces, puts a key into this slot: what a script touches beside a key must be there too. */
export function tagOf(slot: number): string {
  tags ??= findTags();
  return tags[slot] ?? '';
}

/** Some 150 000 numbers hit every slot at least once; done once, in some tens of milliseconds, for clusters only. */
function findTags(): readonly string[] {
  const found: string[] = [];
  let missing = SLOTS;
  for (let number = 0; missing > 0; number += 1) {
    const tag = number.toString(36);
    const slot = slotOf(tag);
    if (found[slot] !== undefined) continue;
    found[slot] = tag;
    missing -= 1;
  }
  return found;
}

/** The pattern that only the text itself matches, for MATCH. */
export function literalPattern(text: string): string {
  return text.replace(/[*?[\]\\]/g, String.raw`\$&`);
}
