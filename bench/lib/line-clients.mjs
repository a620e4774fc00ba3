/**
 * Clients over bare sockets, the same for every server: each has one request on its way, and sends the next when the
 * answer is whole. What they cost is small and equal on both sides.
 */
import { connect } from "node:net";

/**
 * @param place what `net.connect` takes
 * @param clients connections
 * @param seconds how long; a second of warming comes before
 * @param request bytes of a client's nth request
 * @param answerEnd length of the whole answer at the buffer's beginning, or 0 while it is not there; throws for a
 * failure
 * @returns requests per second, and milliseconds from request to answer
 */
export async function hammer({ place, clients, seconds, request, answerEnd }) {
  const latencies = [];
  const beganMs = performance.now() + 1000;
  const endMs = beganMs + seconds * 1000;
  await Promise.all(Array.from({ length: clients }, (_, client) => ask(client)));
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))];
  return { perSecond: latencies.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: latencies.at(-1) };

  function ask(client) {
    return new Promise((resolve, reject) => {
      const socket = connect(place);
      socket.setNoDelay(true);
      let received = Buffer.alloc(0);
      let sentMs = 0;
      let count = 0;
      const send = () => {
        sentMs = performance.now();
        socket.write(request(client, count++));
      };
      socket.on("connect", send);
      socket.on("error", reject);
      socket.on("close", () => reject(new Error("the server closed a connection")));
      socket.on("data", (piece) => {
        received = received.length === 0 ? piece : Buffer.concat([received, piece]);
        let length;
        try {
          length = answerEnd(received);
        } catch (error) {
          return reject(error);
        }
        if (length === 0) return;
        received = received.subarray(length);
        const nowMs = performance.now();
        if (sentMs >= beganMs && nowMs <= endMs) latencies.push(nowMs - sentMs);
        if (nowMs < endMs) return send();
        socket.removeAllListeners("close");
        socket.destroy();
        resolve();
      });
    });
  }
}

/** An HTTP answer with a Content-Length that says 200. */
export function httpAnswerEnd(bytes) {
  const head = bytes.indexOf("\r\n\r\n");
  if (head < 0) return 0;
  const text = bytes.toString("latin1", 0, head);
  const length = /\r\ncontent-length: (\d+)/i.exec(text);
  if (!text.startsWith("HTTP/1.1 200") || length === null) throw new Error(bytes.toString("utf8", 0, 600));
  const end = head + 4 + Number(length[1]);
  return bytes.length < end ? 0 : end;
}

/** Redis's `+OK`, and nothing else. */
export function redisAnswerEnd(bytes) {
  const end = bytes.indexOf("\r\n");
  if (end < 0) return 0;
  if (bytes[0] !== 0x2b) throw new Error(bytes.toString("utf8", 0, 300));
  return end + 2;
}
