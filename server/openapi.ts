const digest = { type: "string", pattern: "^(blake3:|sha256:)?[0-9a-f]{64}$" };
const digests = { type: "array", items: digest };
const error = {
  type: "object",
  properties: {
    error: {
      type: "object",
      required: ["code", "message", "retryable"],
      properties: {
        code: { type: "string" },
        message: { type: "string" },
        retryable: { type: "boolean" },
        context: { type: "object" },
        hint: { type: "string" },
      },
    },
  },
};
const version = {
  type: "object",
  required: ["ref", "version", "manifest", "timeUs"],
  properties: {
    ref: { type: "string" },
    version: { type: "integer" },
    manifest: digest,
    step: { type: "integer" },
    metrics: { type: "object", additionalProperties: { type: "number" } },
    metadata: { type: "object", additionalProperties: { type: "string" } },
    timeUs: { type: "string", description: "microseconds since the Unix epoch" },
    logicalBytes: { type: "integer" },
    storedBytes: { type: "integer" },
  },
};
const file = {
  type: "object",
  required: ["kind", "sizeBytes", "chunks"],
  properties: {
    kind: { enum: ["opaque", "tensors", "resume"] },
    name: { type: "string" },
    sizeBytes: { type: "integer" },
    format: { type: "string" },
    tensors: {
      type: "array",
      items: {
        type: "object",
        required: ["name", "dtype", "shape", "offset"],
        properties: {
          name: { type: "string" },
          dtype: { type: "string" },
          shape: { type: "array", items: { type: "integer" } },
          offset: { type: "integer" },
        },
      },
    },
    chunks: digests,
  },
};

type Schema = Record<string, unknown>;

interface Operation {
  summary: string;
  /** Names of path parameters, and of query parameters and headers with where they stand. */
  parameters?: [name: string, where: "path" | "query" | "header"][];
  json?: Schema;
  bytes?: true;
  answers: Record<number, string | [string, Schema]>;
}

const operations: Record<string, Record<string, Operation>> = {
  "/healthz": { get: { summary: "Whether the server lives", answers: { 200: "it does" } } },
  "/metrics": { get: { summary: "Numbers for Prometheus", answers: { 200: "text format 0.0.4" } } },
  "/v1/have": {
    post: {
      summary: "Which of these chunks the store lacks",
      json: { type: "object", required: ["digests"], properties: { digests, like: { type: "string" } } },
      answers: {
        200: [
          "places in the list",
          { type: "object", properties: { missing: { type: "array", items: { type: "integer" } } } },
        ],
      },
    },
  },
  "/v1/chunks": {
    post: {
      summary: "Store a batch of chunks",
      bytes: true,
      answers: { 201: "all are durable", 422: "one is not what its digest says: none was stored" },
    },
  },
  "/v1/chunks/get": {
    post: {
      summary: "Read a batch of chunks",
      json: { type: "object", required: ["digests"], properties: { digests } },
      answers: { 200: "a batch", 404: "one is not there" },
    },
  },
  "/v1/chunks/{digest}": {
    put: {
      summary: "Store a chunk",
      parameters: [
        ["digest", "path"],
        ["dtype", "query"],
        ["base", "query"],
      ],
      bytes: true,
      answers: { 201: "it is durable", 422: "not what its digest says" },
    },
    get: {
      summary: "Read a chunk",
      parameters: [["digest", "path"]],
      answers: { 200: "its bytes", 404: "not there" },
    },
  },
  "/v1/manifests": {
    post: {
      summary: "Store a manifest",
      json: {
        type: "object",
        required: ["files"],
        properties: { files: { type: "array", items: file }, parent: digest },
      },
      answers: {
        201: ["it is durable", { type: "object", properties: { manifest: digest } }],
        409: ["chunks are missing", { type: "object", properties: { missing: digests } }],
      },
    },
  },
  "/v1/manifests/{digest}": {
    get: {
      summary: "Read a manifest",
      parameters: [["digest", "path"]],
      answers: { 200: "files, tensors and chunks", 404: "not there" },
    },
  },
  "/v1/refs": { get: { summary: "All refs", answers: { 200: "their newest versions" } } },
  "/v1/refs/{name}": {
    get: {
      summary: "A ref's newest version, or another by selector",
      parameters: [
        ["name", "path"],
        ["at", "query"],
        ["log", "query"],
        ["If-None-Match", "header"],
      ],
      answers: { 200: ["the version", version], 304: "still that one", 404: "not there" },
    },
    put: {
      summary: "Make a manifest the newest version",
      parameters: [
        ["name", "path"],
        ["If-Match", "header"],
        ["If-None-Match", "header"],
      ],
      json: {
        type: "object",
        required: ["manifest"],
        properties: {
          manifest: digest,
          step: { type: "integer" },
          metrics: { type: "object" },
          metadata: { type: "object" },
          parent: { type: "string" },
        },
      },
      answers: {
        200: ["the new version", version],
        201: ["the first version", version],
        409: ["chunks are missing", { type: "object", properties: { missing: digests } }],
        412: ["the ref stands elsewhere", { type: "object", properties: { current: version } }],
        428: "say where the ref stands",
      },
    },
  },
  "/v1/export/{ref}@{selector}/{file}": {
    get: {
      summary: "A version's file, byte for byte",
      parameters: [
        ["ref", "path"],
        ["selector", "path"],
        ["file", "path"],
        ["Range", "header"],
        ["If-Range", "header"],
      ],
      answers: { 200: "the file", 206: "the range", 404: "not there", 416: "past its end" },
    },
  },
  "/v1/import/{ref}": {
    put: {
      summary: "Save a file as the next version",
      parameters: [
        ["ref", "path"],
        ["file", "query"],
        ["step", "query"],
      ],
      bytes: true,
      answers: { 201: "the version is durable", 422: "malformed" },
    },
  },
  "/v1/commit": {
    post: {
      summary: "Commit one transaction of critical state",
      parameters: [["Idempotency-Key", "header"]],
      json: {
        type: "object",
        required: ["changes"],
        properties: {
          changes: { type: "array", items: { type: "object", minProperties: 1, maxProperties: 1 } },
          actor: { type: "string" },
          reason: { type: "string" },
        },
      },
      answers: {
        200: [
          "it is durable",
          {
            type: "object",
            properties: { lsn: { type: "string" }, timeUs: { type: "string" }, results: { type: "array" } },
          },
        ],
        409: "a condition does not hold: nothing was changed",
        503: "another process has critical state open",
      },
    },
  },
  "/v1/critical/{map}/{key}": {
    get: {
      summary: "An entry of a critical map",
      parameters: [
        ["map", "path"],
        ["key", "path"],
        ["If-None-Match", "header"],
      ],
      answers: { 200: "value and version", 304: "still that version", 404: "not there" },
    },
  },
  "/v1/watch": {
    get: {
      summary: "New versions as server-sent events",
      parameters: [
        ["ref", "query"],
        ["since", "query"],
        ["Last-Event-ID", "header"],
      ],
      answers: { 200: "text/event-stream" },
    },
  },
};

/** Routes and what they take, as OpenAPI 3.1. */
export function openApiDocument(): Schema {
  const paths = Object.fromEntries(
    Object.entries(operations).map(([path, methods]) => [
      path,
      Object.fromEntries(Object.entries(methods).map(([method, operation]) => [method, describe(operation)])),
    ]),
  );
  return {
    openapi: "3.1.0",
    info: { title: "varve", version: "1", description: "Checkpoints over HTTP; docs/server.md tells more." },
    components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
    security: [{}, { token: [] }],
    paths,
  };
}

function describe({ summary, parameters = [], json, bytes, answers }: Operation): Schema {
  const responses = Object.entries(answers).map(([status, answer]) => {
    const [description, schema] = typeof answer === "string" ? [answer, undefined] : answer;
    return [status, { description, ...(schema === undefined ? {} : content("application/json", schema)) }];
  });
  const body = bytes ? content("application/octet-stream", {}) : content("application/json", json ?? {});
  return {
    summary,
    parameters: parameters.map(([name, where]) => ({
      name,
      in: where,
      required: where === "path",
      schema: { type: "string" },
    })),
    ...(bytes || json !== undefined ? { requestBody: { required: true, ...body } } : {}),
    responses: {
      ...Object.fromEntries(responses),
      default: { description: "an error", ...content("application/json", error) },
    },
  };
}

function content(type: string, schema: Schema) {
  return { content: { [type]: { schema } } };
}
