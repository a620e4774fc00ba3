import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hammer, httpAnswerEnd } from "./line-clients.mjs";
import { startVarve, stopAll } from "./server-commits.mjs";

/** Thousands of connections that say nothing, and what the server's memory and other clients feel of them. */
export async function idle({ say, rounds = 5000, seconds = 3 }) {
  const directory = mkdtempSync(join(process.env.VARVE_BENCH_DIR ?? tmpdir(), "varve-idle-"));
  const ends = [];
  const sockets = [];
  try {
    const { place } = await startVarve(directory, ends);
    const request = () => "GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    const ask = () => hammer({ place, clients: 4, seconds, request, answerEnd: httpAnswerEnd });
    const alone = await ask();
    const residentBefore = residentBytes(ends[0].pid);
    let closed = 0;
    for (let count = 0; count < rounds; count++) {
      const socket = connect(place);
      socket.on("error", () => {});
      socket.on("close", () => closed++);
      sockets.push(socket);
      if (count % 100 === 99) await new Promise((resolve) => socket.once("connect", resolve));
    }
    say(`${rounds} connections are open`);
    const beside = await ask();
    const cost = residentBytes(ends[0].pid) - residentBefore;
    const open = rounds - closed;
    return {
      "idle connections open": `${open} of ${rounds}`,
      "memory for each": `${(cost / rounds / 1024).toFixed(1)} KiB`,
      "requests of 4 others, without them": say4(alone),
      "requests of 4 others, beside them": say4(beside),
    };
  } finally {
    for (const socket of sockets) socket.destroy();
    await stopAll(ends);
    rmSync(directory, { recursive: true, force: true });
  }
}

function say4({ perSecond, p50Ms, p99Ms }) {
  return `${perSecond.toFixed(0)}/s, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms`;
}

function residentBytes(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))[1]) * 1024;
}
