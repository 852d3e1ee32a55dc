import { TallyError } from '../../../core/errors.ts';
import type { Value } from '../../../core/row.ts';

const OPEN = 0x7b;
const CLOSE = 0x7d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * The value of the text of an array: a list, of lists for more dimensions. An array whose bounds do not start
 * at 1 (`[0:1]={a,b}`) is its text, because a list cannot say where it starts.
 */
export function parseArray(
  text: string,
  delimiter: string,
  element: (text: string) => Value,
): Value {
  if (text.startsWith('[')) return text;
  const reader = new ArrayReader(text, delimiter.charCodeAt(0), element);
  return reader.whole();
}

class ArrayReader {
  readonly #text: string;
  readonly #delimiter: number;
  readonly #element: (text: string) => Value;
  #at = 0;

  constructor(text: string, delimiter: number, element: (text: string) => Value) {
    this.#text = text;
    this.#delimiter = delimiter;
    this.#element = element;
  }

  whole(): Value {
    const list = this.#list();
    if (this.#at !== this.#text.length) throw this.#broken();
    return list;
  }

  #list(): Value[] {
    if (this.#code() !== OPEN) throw this.#broken();
    this.#at++;
    const items: Value[] = [];
    if (this.#code() === CLOSE) {
      this.#at++;
      return items;
    }
    for (;;) {
      items.push(this.#item());
      const code = this.#code();
      this.#at++;
      if (code === CLOSE) return items;
      if (code !== this.#delimiter) throw this.#broken();
    }
  }

  #item(): Value {
    const code = this.#code();
    if (code === OPEN) return this.#list();
    if (code === QUOTE) return this.#element(this.#quoted());
    const start = this.#at;
    while (this.#code() !== this.#delimiter && this.#code() !== CLOSE) {
      if (this.#at >= this.#text.length) throw this.#broken();
      this.#at++;
    }
    const word = this.#text.slice(start, this.#at);
    return word === 'NULL' ? null : this.#element(word);
  }

  #quoted(): string {
    let plain = '';
    let start = ++this.#at;
    for (; this.#code() !== QUOTE; this.#at++) {
      if (this.#at >= this.#text.length) throw this.#broken();
      if (this.#code() !== BACKSLASH) continue;
      plain += this.#text.slice(start, this.#at);
      start = ++this.#at;
    }
    plain += this.#text.slice(start, this.#at++);
    return plain;
  }

  #code(): number {
    return this.#text.charCodeAt(this.#at);
  }

  #broken(): TallyError {
    return new TallyError('STORE_CORRUPT', {
      what: `the text of an array ends or breaks at character ${this.#at}`,
      mend: 'look at the output function of the type of its elements',
      details: { text: this.#text.slice(0, 80), at: this.#at },
    });
  }
}
