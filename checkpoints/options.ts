/** What a store's checkpoints are opened with. */
export interface CheckpointsOptions {
  /** Told of a save that failed while nobody was watching its ticket. */
  onError?: ((error: unknown) => void) | undefined;
  /** Memory in which captured tensors wait for the encoder; at least 1 MiB. Default: 64 MiB. */
  stagingBytes?: number | undefined;
  /** Bytes of scratch files in which more of them wait. Default: 2 GiB. */
  spoolBytes?: number | undefined;
  /** Bytes a second that background writing (images, recompression, gc, seals) may take on average. Default: 10 MB/s. */
  ioBudget?: number | undefined;
  /**
   * Hash tensors on the calling thread and hold every save, and `restoreInto` with `from`, to it: finds trainers that write too
   * early, and followers that hold another version than they say. For tests.
   */
  strict?: boolean | undefined;
}
