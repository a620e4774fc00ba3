export { jsonLog, type Log } from "./log.ts";
export type { ServeOptions } from "./options.ts";
export { DEFAULT_PORT, type RunningServer, startServer } from "./start.ts";
export { SCOPES, type Scope, TokenTable } from "./tokens.ts";
