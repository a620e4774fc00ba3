/**
 * xoshiro128** (Blackman and Vigna, 2018): a small generator whose whole state is four words, so that a training loop
 * can save it and go on with the same numbers.
 */
export class Random {
  readonly state: Uint32Array;

  constructor(seed: number) {
    this.state = new Uint32Array(4);
    // splitmix32 spreads the seed over the state.
    let word = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      word = (word + 0x9e3779b9) >>> 0;
      let mixed = Math.imul(word ^ (word >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      this.state[i] = mixed ^ (mixed >>> 15);
    }
  }

  /** A number in [0, 1). */
  next(): number {
    const s = this.state;
    const product = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9);
    const shifted = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= shifted;
    s[3] = rotate(s[3]!, 11);
    return (product >>> 0) / 0x100000000;
  }

  /** A normally distributed number (Box and Muller, 1958). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }
}

function rotate(word: number, count: number): number {
  return (word << count) | (word >>> (32 - count));
}
