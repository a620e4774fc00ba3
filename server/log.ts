/** One event of the server, as one line of JSON: `{"time":"…","event":"request","status":200,…}`. */
export type Log = (event: string, fields: Record<string, unknown>) => void;

/** A log that writes lines; numbers of type bigint become decimal text. */
export function jsonLog(write: (line: string) => void): Log {
  return (event, fields) => {
    const record = { time: new Date().toISOString(), event, ...fields };
    write(
      `${JSON.stringify(record, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value))}\n`,
    );
  };
}

export const silentLog: Log = () => {};
