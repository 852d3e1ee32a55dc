/** What a worker carries, once it has begun. */
export interface Carrier {
  /** Resolves once everything up to this offset is where it goes. */
  reach(offset: number): Promise<void>;
  /** How many rows went through so far, where that is counted. */
  counted(): Promise<number>;
  close(): Promise<void>;
}
