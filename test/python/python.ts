import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "../..");

/** Debian's own Python comes first: its packages include PyTorch. */
const candidates = ["/usr/bin/python3", "python3"];

function imports(python: string, module: string): boolean {
  return spawnSync(python, ["-c", `import ${module}`], { stdio: "ignore" }).status === 0;
}

/** A Python that has the module; `undefined` when this machine has none. */
export function pythonWith(module: string): string | undefined {
  return candidates.find((python) => imports(python, module));
}

export interface PythonRun {
  code: number | null;
  out: string;
  err: string;
}

export interface PythonChild {
  process: ChildProcess;
  /** Lines of standard output so far. */
  lines: string[];
  ended: Promise<PythonRun>;
}

/** Starts a program that finds `varve_client` and the server. */
export function startPython(python: string, args: string[], url: string, input = ""): PythonChild {
  const child = spawn(python, args, {
    cwd: root,
    env: {
      ...process.env,
      PYTHONPATH: join(root, "clients/python"),
      VARVE_URL: url,
      PYTHONDONTWRITEBYTECODE: "1",
    },
  });
  let [out, err] = ["", ""];
  const lines: string[] = [];
  child.stdout.on("data", (piece) => {
    out += piece;
    lines.splice(0, lines.length, ...out.split("\n").slice(0, -1));
  });
  child.stderr.on("data", (piece) => {
    err += piece;
  });
  child.stdin.end(input);
  const ended = new Promise<PythonRun>((resolve) => {
    child.on("close", (code) => resolve({ code, out, err }));
  });
  return { process: child, lines, ended };
}

/** Runs a program's text to its end; throws with what it printed when it fails. */
export async function runPython(python: string, program: string, url: string): Promise<string> {
  const { code, out, err } = await startPython(python, ["-"], url, program).ended;
  if (code !== 0) throw new Error(`Python ended with ${code}\n${err}\n${out}`);
  return out;
}
