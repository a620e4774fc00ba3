import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { getRequestListener } from "@hono/node-server";
import type { Store } from "../open-store.ts";
import { StoreError } from "../src/errors.ts";
import {
  SERVER_CONNECTIONS_MAX,
  SERVER_HEADER_BYTES_MAX,
  SERVER_SHUTDOWN_MS,
  SERVER_STALL_MS,
} from "../src/limits.ts";
import { createApp } from "./app.ts";
import { silentLog } from "./log.ts";
import type { ServeOptions } from "./options.ts";

export const DEFAULT_PORT = 7411;

export interface RunningServer {
  /** `http://127.0.0.1:7411`, or `unix:PATH`. */
  readonly url: string;
  /**
   * Takes no more connections, lets requests in flight end (at most `SERVER_SHUTDOWN_MS`), then closes what is left.
   * The store stays open: it belongs to the caller.
   */
  close(): Promise<void>;
}

/**
 * Serves a store over HTTP.
 * @throws `ERR_INVALID_ARGUMENT` for an address others can reach without tokens or `insecure`; `ERR_IO` when the
 * address is taken
 */
export async function startServer(store: Store, options: ServeOptions = {}): Promise<RunningServer> {
  const {
    host = "127.0.0.1",
    port = DEFAULT_PORT,
    unix,
    tokens,
    insecure = false,
    log = silentLog,
  } = options;
  const local = unix !== undefined || isLoopback(host);
  if (!local && tokens === undefined && !insecure) {
    throw new StoreError("ERR_INVALID_ARGUMENT", `${host} can be reached from other machines`, {
      context: { host },
      hint: "Give a token file, listen on 127.0.0.1, or say --insecure.",
    });
  }
  const readOnly = options.readOnly ?? false;
  await store.checkpoints.exchange.open();
  const app = createApp({ store, readOnly, tokens, loopback: local && unix === undefined, log });
  const others = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const server = createServer(
    {
      maxHeaderSize: SERVER_HEADER_BYTES_MAX,
      headersTimeout: SERVER_STALL_MS,
      // Bodies are timed by how they come (server/body.ts): a large one may take long.
      requestTimeout: 0,
      keepAliveTimeout: 2 * SERVER_STALL_MS,
      connectionsCheckingInterval: SERVER_STALL_MS / 3,
    },
    (request, response) => {
      if (app.commits.takes(request)) void app.commits.answer(request, response);
      else void others(request, response);
    },
  );
  server.maxConnections = SERVER_CONNECTIONS_MAX;
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("drop", () => log("connection-refused", { limit: SERVER_CONNECTIONS_MAX }));
  app.metrics.gauge("varve_connections", "Open connections.", () => sockets.size);
  await listen(server, unix === undefined ? { host, port } : { path: unix });
  const url = unix === undefined ? urlOf(server.address() as AddressInfo) : `unix:${unix}`;
  log("listening", { url, readOnly, tokens: tokens !== undefined });
  let closing: Promise<void> | undefined;
  return {
    url,
    close() {
      closing ??= close(server, sockets, app.close).then(() => log("closed", { url }));
      return closing;
    },
  };
}

function listen(server: Server, place: { host: string; port: number } | { path: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const where = "path" in place ? place.path : `${place.host}:${place.port}`;
      const problem = error.code === "EADDRINUSE" ? "is taken" : `cannot be listened on: ${error.message}`;
      reject(new StoreError("ERR_IO", `${where} ${problem}`, { cause: error, context: { ...place } }));
    });
    // A socket is made within `listen`, with the mode the mask leaves: no moment in which others could connect.
    const mask = "path" in place ? process.umask(0o177) : undefined;
    try {
      server.listen(place, resolve);
    } finally {
      if (mask !== undefined) process.umask(mask);
    }
  });
}

async function close(server: Server, sockets: Set<Socket>, endStreams: () => void): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  endStreams();
  server.closeIdleConnections();
  const timer = setTimeout(() => {
    for (const socket of sockets) socket.destroy();
  }, SERVER_SHUTDOWN_MS);
  // A connection that has just ended its last request is idle from then on.
  const sweep = setInterval(() => server.closeIdleConnections(), 50);
  await closed;
  clearTimeout(timer);
  clearInterval(sweep);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

function urlOf({ address, port, family }: AddressInfo): string {
  return family === "IPv6" ? `http://[${address}]:${port}` : `http://${address}:${port}`;
}
