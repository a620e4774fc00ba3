export { type ErrorCode, InvariantError, isStoreError, StoreError } from "./src/errors.ts";
