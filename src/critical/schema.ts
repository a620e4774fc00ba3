import type { StandardSchemaV1 } from "@standard-schema/spec";
import { StoreError } from "../errors.ts";
import { storable } from "./codec.ts";

/** How a map's values look, and how older ones become so. */
export interface MapOptions<V> {
  /** Any Standard Schema validator (zod, valibot, arktype…); its output is what is stored. */
  schema?: StandardSchemaV1<unknown, V>;
  /** Version of the schema, a whole number from 1; stored with every value. Default 1. */
  version?: number;
  /** Turns a value of an older version into one of this version; runs when such a value is read. */
  upgrade?: (value: unknown, fromVersion: number) => V;
}

const VERSION_MAX = 0xffff;

/** A map's options, checked. */
export class MapSchema {
  readonly mapName: string;
  readonly version: number;
  readonly validator: StandardSchemaV1 | undefined;
  readonly upgrade: ((value: unknown, fromVersion: number) => unknown) | undefined;

  constructor(mapName: string, options: MapOptions<never>) {
    const version = options.version ?? 1;
    if (!Number.isInteger(version) || version < 1 || version > VERSION_MAX) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        `map ${mapName}: version must be a whole number from 1 to ${VERSION_MAX}`,
      );
    }
    if (options.schema !== undefined && typeof options.schema["~standard"]?.validate !== "function") {
      throw invalid(
        `map ${mapName}: its schema is no Standard Schema validator`,
        "Give one of zod (3.24 or newer), valibot or arktype, or an object with `~standard`: standardschema.dev.",
      );
    }
    if (options.upgrade !== undefined && typeof options.upgrade !== "function") {
      throw invalid(`map ${mapName}: upgrade must be a function`, "upgrade: (value, fromVersion) => ...");
    }
    this.mapName = mapName;
    this.version = version;
    this.validator = options.schema;
    this.upgrade = options.upgrade as ((value: unknown, fromVersion: number) => unknown) | undefined;
  }

  /** The validator's output for `value`. @throws ERR_INVALID_ARGUMENT naming map, key and every issue */
  validated(value: unknown, what: string): unknown {
    if (this.validator === undefined) return value;
    const result = this.validator["~standard"].validate(value);
    if (isPromise(result)) {
      forget(result);
      throw invalid(
        `map ${this.mapName}: its schema validates asynchronously`,
        "A commit is synchronous: use a schema without asynchronous refinements.",
      );
    }
    if (result.issues === undefined) {
      if (result.value !== undefined) return result.value;
      throw invalid(
        `map ${this.mapName}, ${what}: its schema makes undefined of it`,
        "A map holds no undefined: let the schema give null, or refuse the value.",
      );
    }
    const issues = result.issues.map((issue) => {
      const path = (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part));
      return { path: path.join("."), message: issue.message };
    });
    const listed = issues
      .map(({ path, message }) => (path === "" ? message : `${path}: ${message}`))
      .join("; ");
    throw new StoreError("ERR_INVALID_ARGUMENT", `map ${this.mapName}, ${what}: ${listed}`, {
      context: { map: this.mapName, issues },
    });
  }

  /**
   * A stored value of `fromVersion` as a value of this version, which may be stored.
   *
   * @throws ERR_STORE_VERSION where that cannot be; also for a value of a later version, which a reader may come upon
   *   that opened the map before the writer had that version
   */
  upgraded(value: unknown, fromVersion: number): unknown {
    this.checkAgainst(fromVersion);
    if (fromVersion === this.version || fromVersion === 0) return value;
    const what = `a value of version ${fromVersion}`;
    if (this.upgrade === undefined) return storable(this.validated(value, what));
    try {
      const upgraded = this.upgrade(value, fromVersion);
      if (isPromise(upgraded)) {
        forget(upgraded);
        throw new TypeError("upgrade returned a promise");
      }
      if (upgraded === undefined) throw new TypeError("upgrade returned undefined");
      return storable(this.validated(upgraded, what));
    } catch (cause) {
      throw new StoreError(
        "ERR_STORE_VERSION",
        `map ${this.mapName}: ${what} could not be upgraded to ${this.version}`,
        {
          cause,
          context: { map: this.mapName, fromVersion, toVersion: this.version },
          hint: "Correct the map's upgrade function; the stored value is untouched.",
        },
      );
    }
  }

  /** Refuses to open data that a newer program wrote. */
  checkAgainst(storedVersion: number): void {
    if (storedVersion <= this.version) return;
    throw new StoreError(
      "ERR_STORE_VERSION",
      `map ${this.mapName} holds values of version ${storedVersion}, opened with version ${this.version}`,
      {
        context: { map: this.mapName, storedVersion, version: this.version },
        hint: "Run the newer program, or give the map the schema and version its data has.",
      },
    );
  }
}

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof (value as Partial<PromiseLike<unknown>> | null)?.then === "function";

/** Nobody waits for it: that it is refused later must not end the process. */
function forget(refused: PromiseLike<unknown>): void {
  refused.then(undefined, () => {});
}

function invalid(message: string, hint: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", message, { hint });
}
