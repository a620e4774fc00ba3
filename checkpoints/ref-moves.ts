/** Tells those who follow a ref that this process has moved one. */
export class RefMoves {
  readonly #waiting = new Set<() => void>();

  /** Calls `look` with each move until what this returns is called. */
  on(look: () => void): () => void {
    this.#waiting.add(look);
    return () => this.#waiting.delete(look);
  }

  tell(): void {
    for (const look of [...this.#waiting]) look();
  }
}
