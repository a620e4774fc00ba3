/** A process that does nothing but watch its own event loop: what the machine itself takes from any loop in the run. */
import { LoopWatch } from "./loop-watch.mjs";

const watch = new LoopWatch();
process.on("disconnect", () => process.exit());
process.on("message", () => {
  process.send(watch.stop());
  process.disconnect();
});
