import { createHash, timingSafeEqual } from "node:crypto";
import { StoreError } from "../src/errors.ts";

export const SCOPES = ["read", "save", "commit"] as const;
export type Scope = (typeof SCOPES)[number];

const TOKEN_CHARACTERS_MIN = 16;
const TOKENS_MAX = 1024;

/**
 * Bearer tokens and what each may do. A file has one a line: `TOKEN SCOPE,SCOPE`; `#` begins a comment.
 *
 * Only digests are kept, and every look-up compares with all of them in constant time: how long it takes tells
 * nothing about how much of a guess was right.
 */
export class TokenTable {
  readonly #entries: { digest: Buffer; scopes: ReadonlySet<Scope> }[] = [];

  /** @throws `ERR_INVALID_ARGUMENT` naming the line that will not do; the token itself is never repeated */
  static parse(text: string): TokenTable {
    const table = new TokenTable();
    for (const [i, line] of text.split("\n").entries()) {
      const content = line.replace(/(^|\s)#.*$/, "").trim();
      if (content !== "") table.#add(content, i + 1);
    }
    if (table.#entries.length === 0) throw invalid("the token file holds no token");
    return table;
  }

  #add(content: string, line: number): void {
    const [token = "", scopeText, ...rest] = content.split(/\s+/);
    if (scopeText === undefined || rest.length > 0) throw invalid(`line ${line} is not "TOKEN SCOPE,SCOPE"`);
    if (token.length < TOKEN_CHARACTERS_MIN) {
      throw invalid(`the token in line ${line} has fewer than ${TOKEN_CHARACTERS_MIN} characters`);
    }
    const scopes = scopeText.split(",").map((scope) => {
      if ((SCOPES as readonly string[]).includes(scope)) return scope as Scope;
      throw invalid(`line ${line} has the unknown scope ${JSON.stringify(scope.slice(0, 40))}`);
    });
    if (this.#entries.length === TOKENS_MAX) throw invalid(`more than ${TOKENS_MAX} tokens`);
    const digest = digestOf(token);
    if (this.#entries.some((entry) => entry.digest.equals(digest)))
      throw invalid(`the token in line ${line} came before`);
    this.#entries.push({ digest, scopes: new Set(scopes) });
  }

  /** What the bearer of this token may do; `undefined` for a token that is not in the table. */
  scopesOf(token: string): ReadonlySet<Scope> | undefined {
    const digest = digestOf(token);
    let found: ReadonlySet<Scope> | undefined;
    for (const entry of this.#entries) if (timingSafeEqual(entry.digest, digest)) found = entry.scopes;
    return found;
  }
}

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

function invalid(problem: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", problem, {
    hint: `One token a line, then its scopes: a random text, a space, and some of ${SCOPES.join(",")}.`,
  });
}
