import type { Store } from "../open-store.ts";
import type { Log } from "./log.ts";
import type { TokenTable } from "./tokens.ts";

export interface ServeOptions {
  /** Default: `127.0.0.1`. */
  host?: string;
  /** Default: 7411; 0 takes a free one. */
  port?: number;
  /** A Unix socket instead of a TCP port; only its owner may connect. */
  unix?: string;
  /** Who may do what; without it, everyone who can connect may do everything. */
  tokens?: TokenTable;
  /** Listen on an address others can reach without asking for tokens. */
  insecure?: boolean;
  /** Refuse everything that changes the store. */
  readOnly?: boolean;
  log?: Log;
}

/** What the routes share. */
export interface ServerContext {
  store: Store;
  readOnly: boolean;
  tokens: TokenTable | undefined;
  /** Only this machine can connect: browsers' requests for other hosts are refused. */
  loopback: boolean;
  log: Log;
}
