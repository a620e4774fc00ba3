/** A function that runs on a worker thread, named by the module that exports it. */
export interface Job {
  /** `import.meta.url` of the module that holds the job. */
  url: string;
  /** The exported function: `(args) => result | Promise<result>`. */
  name: string;
}
