import { createConnection, createServer, type Server, type Socket } from "node:net";
import { isMainThread } from "node:worker_threads";
import { Packr } from "msgpackr";
import type { Disk } from "../disk/disk.ts";
import { type ErrorRecord, fromErrorRecord, StoreError, toErrorRecord } from "../errors.ts";
import { SOCKET_CONNECTIONS_MAX, SOCKET_MESSAGE_BYTES_MAX } from "../limits.ts";
import {
  type CriticalVerbs,
  isVerb,
  unknownVerb,
  type Verb,
  type VerbArgs,
  type VerbResult,
} from "./verbs.ts";

/**
 * The engine's door for other processes of the same user: a local socket in the store directory. A message is a
 * u32 length (little-endian) and MessagePack: `{id, verb, args}` one way, `{id, value}` or `{id, error}` the other.
 */
const SOCKET_NAME = "engine.sock";
/** What the system allows for a socket's path on Linux (108 with the final zero). */
const PATH_BYTES_MAX = 107;
const OWNER_ONLY = 0o177;

interface Request {
  id: number;
  verb: Verb;
  args: object;
}

interface Reply {
  id: number;
  value?: unknown;
  error?: ErrorRecord;
}

const packr = new Packr({ useRecords: false, useBigIntExtension: true, moreTypes: true, copyBuffers: true });

/** Lets other processes in; they get what `verbs` do, errors included. Closing it removes the socket. */
export class EngineSocket {
  readonly path: string;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();

  /** The socket, or `undefined` when there can be none, which `onError` is told. */
  static open(
    { disk, directory }: { disk: Disk; directory: string },
    verbs: CriticalVerbs,
    onError: (error: unknown) => void,
  ): EngineSocket | undefined {
    try {
      return new EngineSocket(disk, directory, verbs, onError);
    } catch (error) {
      onError(error);
      return undefined;
    }
  }

  /** Must be called by whoever holds the store's lock: a socket that lies there already is a dead engine's. */
  constructor(disk: Disk, directory: string, verbs: CriticalVerbs, onError: (error: unknown) => void) {
    this.path = socketPath(directory);
    if (!isMainThread) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        "the engine's socket can only be opened by the main thread",
        {
          hint: "A worker thread cannot restrict the socket to its owner; the engine runs without it.",
        },
      );
    }
    this.#server = createServer((socket) => this.#accept(socket, verbs));
    this.#server.maxConnections = SOCKET_CONNECTIONS_MAX;
    this.#server.on("error", onError);
    disk.remove(this.path);
    // The socket is made within `listen`, with the mode the mask leaves: no moment in which others could connect.
    const mask = process.umask(OWNER_ONLY);
    try {
      this.#server.listen(this.path);
    } finally {
      process.umask(mask);
    }
    this.#server.unref();
  }

  #accept(socket: Socket, verbs: CriticalVerbs): void {
    this.#connections.add(socket);
    socket.unref();
    socket.on("close", () => this.#connections.delete(socket));
    socket.on("error", () => socket.destroy());
    onMessages(socket, (message) => {
      const { id, verb, args } = message as Request;
      const failed = (error: unknown) => send(socket, { id, error: toErrorRecord(error) });
      try {
        if (!isVerb(verbs, verb)) throw unknownVerb(verb);
        const value = (verbs[verb] as (args: object) => unknown)(args);
        if (value instanceof Promise) value.then((ended) => send(socket, { id, value: ended }), failed);
        else send(socket, { id, value });
      } catch (error) {
        failed(error);
      }
    });
  }

  async close(): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

/** Calls the verbs of an engine in another process. */
export class EngineClient {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();
  #nextId = 1;

  private constructor(socket: Socket) {
    this.#socket = socket;
    onMessages(socket, (message) => {
      const { id, value, error } = message as Reply;
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(fromErrorRecord(error));
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      const gone = new StoreError("ERR_CLOSED", "the engine closed the connection", { retryable: true });
      for (const waiting of this.#waiting.values()) waiting.reject(gone);
      this.#waiting.clear();
    });
  }

  /** @throws ERR_NOT_FOUND when no engine listens in that directory */
  static connect(directory: string): Promise<EngineClient> {
    const path = socketPath(directory);
    return new Promise((resolve, reject) => {
      const socket = createConnection(path);
      socket.once("error", (cause) => {
        reject(new StoreError("ERR_NOT_FOUND", `no engine listens at ${path}`, { cause, context: { path } }));
      });
      socket.once("connect", () => resolve(new EngineClient(socket)));
    });
  }

  call<V extends Verb>(verb: V, args: VerbArgs<V>): Promise<VerbResult<V>> {
    if (this.#socket.destroyed) {
      return Promise.reject(new StoreError("ERR_CLOSED", "the connection to the engine is closed"));
    }
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      send(this.#socket, { id, verb, args });
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}

function socketPath(directory: string): string {
  const path = `${directory}/${SOCKET_NAME}`;
  if (Buffer.byteLength(path) <= PATH_BYTES_MAX) return path;
  throw new StoreError(
    "ERR_LIMIT",
    `the path of the engine's socket is over ${PATH_BYTES_MAX} bytes: ${path}`,
    {
      context: { path, limitBytes: PATH_BYTES_MAX },
      hint: "Give the store a shorter path (a symbolic link will do); the engine runs without its socket.",
    },
  );
}

function send(socket: Socket, message: Request | Reply): void {
  let bytes = packr.pack(message);
  if (bytes.byteLength > SOCKET_MESSAGE_BYTES_MAX) {
    const error = toErrorRecord(
      new StoreError(
        "ERR_LIMIT",
        `a message of ${bytes.byteLength} bytes is over ${SOCKET_MESSAGE_BYTES_MAX}`,
        {
          hint: "Ask for fewer or smaller entries.",
        },
      ),
    );
    bytes = packr.pack({ id: message.id, error });
  }
  const head = Buffer.alloc(4);
  head.writeUInt32LE(bytes.byteLength, 0);
  socket.write(Buffer.concat([head, bytes]));
}

/** Cuts what arrives into messages; whoever sends nonsense is cut off. */
function onMessages(socket: Socket, handle: (message: unknown) => void): void {
  let held: Buffer = Buffer.alloc(0);
  socket.on("data", (part: Buffer) => {
    held = held.byteLength === 0 ? part : Buffer.concat([held, part]);
    while (held.byteLength >= 4) {
      const length = held.readUInt32LE(0);
      if (length > SOCKET_MESSAGE_BYTES_MAX) {
        socket.destroy();
        return;
      }
      if (held.byteLength < 4 + length) return;
      let message: unknown;
      try {
        message = packr.unpack(held.subarray(4, 4 + length));
      } catch {
        socket.destroy();
        return;
      }
      held = held.subarray(4 + length);
      if (typeof (message as Partial<Reply> | null)?.id !== "number") {
        socket.destroy();
        return;
      }
      handle(message);
    }
  });
}
