// A browser tab of a Shiny app, without the browser: connects to the WebSocket at the
// address given, writes each message of the app as a line, and sends each line that it
// reads.
import { createInterface } from "node:readline";

const socket = new WebSocket(process.argv[2]);
socket.addEventListener("message", (event) => {
  process.stdout.write(`${event.data}\n`);
});
socket.addEventListener("close", () => process.exit(0));
socket.addEventListener("error", () => process.exit(1));
socket.addEventListener("open", () => {
  createInterface({ input: process.stdin })
    .on("line", (line) => socket.send(line))
    .on("close", () => socket.close());
});
