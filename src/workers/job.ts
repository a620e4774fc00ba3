/** A function that runs on a worker thread, named by the module that exports it. */
export interface Job {
  /** `import.meta.url` of the module that holds the job. */
  url: string;
  /** The exported function: `(args) => result | Promise<result>`. */
  name: string;
}

/** What a job returns when memory of its own goes to the caller with the value, instead of a copy of it. */
export class Moving<T> {
  readonly value: T;
  readonly memory: ArrayBuffer[];

  constructor(value: T, memory: ArrayBuffer[]) {
    this.value = value;
    this.memory = memory;
  }
}
