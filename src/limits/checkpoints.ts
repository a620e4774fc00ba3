// Bounds of names, chunks, checkpoints and background work.

/** Elements of a tensor in one chunk: 256 KiB of f32, small enough to de-duplicate, large enough to compress. */
export const CHUNK_ELEMENTS = 65_536;

/** Raw bytes of one chunk: 65,536 elements of 16 bytes would be the widest; decoders refuse anything larger. */
export const CHUNK_BYTES_MAX = 1 << 20;

/** Bytes of a ref, tag, file or map name in UTF-8: fits a file name and a log line. */
export const NAME_BYTES_MAX = 255;

/** Base chunks one frame may name: parent, grandparent and the optimizer's moments fit with room. */
export const FRAME_BASES_MAX = 8;

/** Chunks one frame may hold. */
export const FRAME_CHUNKS_MAX = 255;

/** Frames a chunk's restore may have to walk: a bound for chains whose links cost next to nothing. */
export const CHAIN_DEPTH_MAX = 64;

/**
 * Patches (rows that a learner named) one after another on one chunk: each is as cheap to apply as it is small, and a
 * frame's depth is one byte.
 */
export const PATCH_DEPTH_MAX = 255;

/** From this many on, chunks begin to start over, each at its own number, so that no save has to store all of them. */
export const PATCH_DEPTH_SPREAD = 205;

/** Chunks at the end of chains this long are restored with their neighbours: shorter ones need not be patches. */
export const PATCHES_TOGETHER_MIN = 8;

/**
 * Memory of one thread for the frames of the patches of chunks restored together: sixteen chunks of which 200 saves
 * changed one row in a hundred take 9 MB.
 */
export const PATCHES_TOGETHER_BYTES = 16 << 20;

/** A save of named rows that holds more than this stores its chunks whole instead. */
export const TOUCHED_BYTES_MAX = 64 << 20;

/**
 * Restoring a chunk through its chain may cost as much as reading this many times its raw bytes: about eight
 * changed-everywhere versions, or two dozen that changed little.
 */
export const CHAIN_COST_FACTOR = 8;

/** Decoded chunks a reader keeps, for chunks that several tensors, frames or chains share. */
export const DECODED_CACHE_BYTES = 4 << 20;

/** A pack that has grown past this is sealed: few files even for terabytes, and gc rewrites one quickly. */
export const PACK_BYTES_TARGET = 256 << 20;

/**
 * What a disk writes whole, and what a power cut in the middle of writing may leave as garbage. Whatever is appended
 * after something acknowledged begins at a multiple of this, so that no write touches what was promised.
 */
export const SECTOR_BYTES = 512;

/** Digests an encoder remembers within one save, so that repeated chunks are encoded once. */
export const ENCODED_DIGESTS_MAX = 16_384;

/** Bytes of one record of the version log: metrics and metadata are small; what is not belongs in a file. */
export const VERSION_RECORD_BYTES_MAX = 1 << 20;

/** Bases the codec looks at for one chunk: parent and grandparent; more only add memory copies. */
export const CODEC_BASES_MAX = 2;

/**
 * Chunks of one version that a replayed chunk may need in a row: a weight needs the average of squares, that one the
 * average of gradients. Each makes the chain of bases longer.
 */
export const REPLAY_LEVELS_MAX = 3;

/** Chunks recompressed under one taking of the saves' lock: a few MB, so that gc waits for less than a second. */
export const RECOMPRESS_BATCH_CHUNKS = 16;

/** Smallest, mean and largest content-defined chunk of an opaque file: 64 KiB keeps the index small, deltas close. */
export const CUT_BYTES_MIN = 16 * 1024;
export const CUT_BYTES_AVG = 64 * 1024;
export const CUT_BYTES_MAX = 256 * 1024;

/** Bytes of one manifest node: layouts of the largest allowed safetensors header stay well below. */
export const NODE_BYTES_MAX = 256 << 20;

/** Files in one version: shards of the largest models number in the hundreds. */
export const VERSION_FILES_MAX = 65_536;

/** Raw bytes encoded or decoded by one job: enough to keep a worker busy for milliseconds, and few in flight. */
export const JOB_BYTES = 1 << 20;

/**
 * Raw bytes decoded by one job where there are many: chunks at the end of long runs of patches are read with their
 * neighbours, and the more of them the fewer reads.
 */
export const DECODE_JOB_BYTES = 4 << 20;

/**
 * A save of at least so many raw bytes is written around the page cache: its pages would push out everything else, and
 * finding them takes longer than the device does. Smaller models stay in the cache, where the next start finds them.
 */
export const ASIDE_BYTES_MIN = 256 << 20;

/**
 * Bytes of a restored file after which it is synced while the rest is decoded, so that the device works meanwhile: a
 * tenth of a second of a slow one, and few syncs even for a large model.
 */
export const SYNC_STEP_BYTES = 32 << 20;

/** A stripe of a RAID: a page of O_DIRECT at least; one is written between two looks at the commits, so not more. */
export const STRIPE_BYTES_MIN = 4096;
export const STRIPE_BYTES_MAX = 64 << 20;

/** Bytes of an opaque file whose cuts are looked for at once. */
export const CUT_WINDOW_BYTES = 4 << 20;

/** Bytes of a version's resume blob: RNG states and loader positions take kilobytes; more is a file of the version. */
export const RESUME_BYTES_MAX = 64 << 20;

/** Metrics, and metadata entries, of one version. */
export const METADATA_ENTRIES_MAX = 4096;

/** Bytes that gc copies between two looks at the budget: a tenth of a second's, and few waits a pack. */
export const GC_STEP_BYTES = 1 << 20;

/** gc rewrites a pack when more than this part of it is dead: less is not worth the writing. */
export const GC_REWRITE_FRACTION = 0.1;

/** Captured bytes that wait in memory for the encoder, by default: with it the whole overhead stays under 100 MB. */
export const STAGING_BYTES = 64 << 20;

/** Most staging memory: one WebAssembly memory holds 4 GiB. */
export const STAGING_BYTES_MAX = 4095 * (1 << 20);

/** Captured bytes that may wait in scratch files, by default, and stay for later saves: two of a gigabyte. */
export const SPOOL_BYTES = 2 * (1 << 30);

/** Saves captured and not yet durable at once: bounds what a loop of tiny saves piles up. */
export const CAPTURES_MAX = 64;

/** One shared memory of allocated tensors: a WebAssembly memory holds 4 GiB, less one page of 64 KiB. */
export const SHARED_MEMORY_BYTES_MAX = 65_535 * 65_536;

/** Bytes of an image's tables and checksums: the widest tables of the largest models, and 4 bytes a MiB. */
export const IMAGE_HEAD_BYTES_MAX = 256 << 20;

/** Bytes a second of background writing, by default: what an average disk takes for years. */
export const IO_BUDGET_BYTES_PER_SECOND = 10_000_000;

/** Worker threads of one store: each has kernels and a heap of its own, some ten megabytes. */
export const WORKERS_MAX = 256;
