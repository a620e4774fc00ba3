/** A function that runs on a worker thread, named by the module that exports it. */
export interface Job {
  /** `import.meta.url` of the module that holds the job. */
  url: string;
  /** The exported function: `(args) => result | Promise<result>`. */
  name: string;
}

/** What a job returns when some of its buffers should move to the caller instead of being copied. */
export class Transferred {
  readonly value: unknown;
  readonly buffers: ArrayBuffer[];

  constructor(value: unknown, buffers: ArrayBuffer[]) {
    this.value = value;
    this.buffers = buffers;
  }
}
