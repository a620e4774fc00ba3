import type { Draft } from "./draft.ts";

const ROOM_INITIAL = 128;

/**
 * Drafts in their order, in a ring. In a list, which grows at one end and is cut at the other, the places themselves
 * would be new memory all the time, and a sixth of what a collection finds in use.
 */
export class DraftQueue {
  #ring: (Draft | undefined)[] = places(ROOM_INITIAL);
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get first(): Draft | undefined {
    return this.#ring[this.#head];
  }

  /** The one so many places behind the first, if there is one. */
  at(index: number): Draft | undefined {
    if (index < 0 || index >= this.#length) return undefined;
    return this.#ring[(this.#head + index) & (this.#ring.length - 1)];
  }

  push(draft: Draft): void {
    if (this.#length === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#length) & (this.#ring.length - 1)] = draft;
    this.#length++;
  }

  /** Takes the first. */
  shift(): Draft | undefined {
    const draft = this.#ring[this.#head];
    if (draft === undefined) return undefined;
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#length--;
    return draft;
  }

  #grow(): void {
    const grown = places(this.#length * 2);
    for (let index = 0; index < this.#length; index++) grown[index] = this.at(index);
    this.#ring = grown;
    this.#head = 0;
  }
}

function places(count: number): (Draft | undefined)[] {
  return new Array<Draft | undefined>(count).fill(undefined);
}
