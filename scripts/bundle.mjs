// Joins the compiled modules of dist/ into few files. Loading a module costs Node.js about as long whether it holds ten
// lines or ten thousand, and a start needs three hundred of them. Every module can still be loaded by its own path,
// where a line is left that hands out what its chunk holds: no module is there twice, whoever names it and how.
import { readFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { rolldown } from "rolldown";

/**
 * What is loaded together, by the modules it begins from: those, and all they import, unless a chunk above has it. A
 * chunk imports from those above it alone. Modules in none of them stay as they are, or share what they share.
 */
const CHUNKS = {
  ground: [
    ...["src/errors", "src/limits", "src/assert", "src/built"],
    // The process that decodes Parquet needs these and nothing else of the library.
    ...["formats/tables/table", "formats/compression/streams"],
  ],
  disk: [
    "src/disk/real-disk",
    "src/disk/durable-directory",
    "src/disk/lock",
    "src/chunks/digest",
    "src/workers/pool",
  ],
  library: [
    ...["index", "src/create-store", "src/series/columns/column", "src/series/columns/byte-source"],
    ...["src/critical/schema", "src/histogram", "src/chunks/placed-reader"],
  ],
  codec: ["src/codec/codec"],
  columns: ["src/series/columns/column-codec"],
  chunks: ["src/chunks/chunk-store", "src/chunks/lmdb-index"],
  features: ["features/features", "src/features/load-version"],
  series: ["src/series/series-store"],
  state: ["src/state/state", "src/state/cache-map"],
  critical: ["open-critical"],
  server: ["server/index"],
  cli: ["cli/main"],
};

/** Where worker threads find their modules, within `dist/`. */
const THREADS = "threads";

/**
 * The same for worker threads, from modules of their own without what no job calls: each thread keeps a copy of what it
 * has loaded, and would keep the library whole. What threads begin with stands alone: it would run in others too.
 */
const THREAD_CHUNKS = {
  files: ["src/disk/real-disk", "src/errors", "src/workers/job", "src/crc32c"],
  copying: ["src/capture/drain.job", "src/images/read-image.job", "src/chunks/digest"],
  coding: ["src/chunks/encode.job", "src/chunks/decode.job", "src/chunks/lmdb-index"],
};
const isForThreads = (name) => /\.job$|^src\/workers\/worker$|^src\/wal\/log-worker$/.test(name);

/**
 * Packages of CommonJS (or of both kinds): required, they load in a third to half of the time that importing them
 * takes, which reads their source for names first and loads them in pieces.
 */
const REQUIRED = {
  "@napi-rs/blake-hash": { names: ["blake3"], chunk: "disk", threadChunk: "copying", hugePages: true },
  "@node-rs/crc32": { names: ["crc32c"], chunk: "disk", threadChunk: "copying", hugePages: true },
  lmdb: { names: ["open"], chunk: "chunks", threadChunk: "coding" },
  // Without its native part, which takes seven milliseconds to find and load and reads the short texts of records at half the
  // speed; long texts, of which values hold few, it reads three times as fast.
  msgpackr: { names: ["Packr", "Unpackr"], chunk: "library", from: "msgpackr/index-no-eval" },
};
const REQUIRED_PREFIX = "required:";

/**
 * The allocator that some of them are built with (mimalloc) asks for huge pages unless it is told not to when it is loaded, in
 * one way or the other by its version: each would take two megabytes for the few kilobytes it uses. The process's environment
 * is left as it was.
 */
const WITHOUT_HUGE_PAGES = `function withoutHugePages(load) {
  const { env } = process;
  const options = ["MIMALLOC_ALLOW_LARGE_OS_PAGES", "MIMALLOC_ALLOW_THP"].filter((name) => !(name in env));
  for (const name of options) env[name] = "0";
  try {
    return load();
  } finally {
    for (const name of options) delete env[name];
  }
}`;

/** Static imports of a module that tsc has written. */
function importsOf(path) {
  const text = readFileSync(path, "utf8");
  const found = text.matchAll(/^(?:import|export)\b(?:[^;"]*?\bfrom)? ?"(\.[^"]+)"/gm);
  return [...found].map((match) => join(dirname(path), match[1]));
}

function assignChunks(directory, chunks, required) {
  const chunkOf = new Map(
    Object.entries(REQUIRED).map(([name, each]) => [REQUIRED_PREFIX + name, each[required]]),
  );
  for (const [chunk, roots] of Object.entries(chunks)) {
    const left = roots.map((root) => join(directory, `${root}.js`));
    for (let path = left.pop(); path !== undefined; path = left.pop()) {
      if (chunkOf.has(path)) continue;
      chunkOf.set(path, chunk);
      left.push(...importsOf(path));
    }
  }
  return chunkOf;
}

/** `import.meta.url` stays what the module's own file would have: jobs, workers and kernels are found by it. */
function ownUrls(directory, to) {
  const within = relative(directory, to);
  const mark = /__urlOf\("([^"]+)"\)/g;
  return {
    name: "own-urls",
    transform(code, id) {
      if (!code.includes("import.meta.url") || id.startsWith(REQUIRED_PREFIX)) return undefined;
      const path = relative(directory, id);
      return { code: code.replaceAll("import.meta.url", `__urlOf(${JSON.stringify(path)})`), map: null };
    },
    renderChunk(code, { fileName }) {
      if (!code.includes("__urlOf(")) return undefined;
      const replaced = code.replace(mark, (_, path) => {
        const from = posix.relative(posix.dirname(posix.join(within, fileName)), path);
        return `new URL(${JSON.stringify(from.startsWith(".") ? from : `./${from}`)}, import.meta.url).href`;
      });
      return { code: replaced, map: null };
    },
  };
}

function requirePackages() {
  return {
    name: "require-packages",
    resolveId(id, _importer, { kind }) {
      if (!Object.hasOwn(REQUIRED, id)) return undefined;
      return kind === "dynamic-import" ? { id, external: true } : REQUIRED_PREFIX + id;
    },
    load(id) {
      if (!id.startsWith(REQUIRED_PREFIX)) return undefined;
      const name = id.slice(REQUIRED_PREFIX.length);
      const { names, from = name, hugePages } = REQUIRED[name];
      const requiring = `createRequire(import.meta.url)("${from}")`;
      return `import { createRequire } from "node:module";
        ${hugePages ? `${WITHOUT_HUGE_PAGES} const found = withoutHugePages(() => ${requiring});` : `const found = ${requiring};`}
        export const { ${names.join(", ")} } = found;`;
    },
  };
}

/** @param modules paths of the modules within `directory`, without `.js` */
export async function bundle(directory, modules) {
  const threads = modules.filter(isForThreads);
  // First: the library's files take the place of the modules that both are made of.
  await joinModules(directory, threads, {
    to: `${directory}/${THREADS}`,
    chunks: THREAD_CHUNKS,
    required: "threadChunk",
  });
  await joinModules(directory, modules, { to: directory, chunks: CHUNKS, required: "chunk" });
}

async function joinModules(directory, modules, { to, chunks, required }) {
  const chunkOf = assignChunks(directory, chunks, required);
  const build = await rolldown({
    input: Object.fromEntries(modules.map((name) => [name, join(directory, `${name}.js`)])),
    platform: "node",
    external: (id) => !/^[./]/.test(id) && !Object.hasOwn(REQUIRED, id) && !id.startsWith(REQUIRED_PREFIX),
    preserveEntrySignatures: "allow-extension",
    plugins: [ownUrls(directory, to), requirePackages()],
    // Some modules are imported statically here and later there.
    checks: { ineffectiveDynamicImport: false },
  });
  await build.write({
    dir: to,
    format: "esm",
    sourcemap: true,
    comments: false,
    // Node.js prints the line of an error that nobody caught. Taking out whitespace saves no time.
    minify: false,
    entryFileNames: "[name].js",
    chunkFileNames: "chunks/[name].js",
    codeSplitting: {
      includeDependenciesRecursively: false,
      groups: Object.keys(chunks).map((name, at) => ({
        name,
        test: (id) => chunkOf.get(id) === name,
        priority: Object.keys(chunks).length - at,
      })),
    },
  });
  await build.close();
}
