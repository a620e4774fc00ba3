import { createRequire } from "node:module";

/** Run from the sources (the test runner), a module cannot be loaded without waiting: it is loaded early. */
const fromSources = import.meta.url.endsWith(".ts");
const require = createRequire(import.meta.url);

/**
 * A module that is loaded when it is first used, without waiting: who never uses a kind of state does not pay for
 * loading its code, and a getter can still hand it out at once.
 */
export class Late<Module> {
  readonly #path: string;
  readonly #load: () => Promise<Module>;
  #module: Module | undefined;

  /** @param path the built module, relative to this file; `load` imports the same one. */
  constructor(path: string, load: () => Promise<Module>) {
    this.#path = path;
    this.#load = load;
  }

  /** To be awaited before `get` may be called; does nothing in the built package. */
  async early(): Promise<void> {
    if (fromSources) this.#module ??= await this.#load();
  }

  get(): Module {
    this.#module ??= require(this.#path) as Module;
    return this.#module;
  }
}
