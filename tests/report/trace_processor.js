// SPDX-License-Identifier: GPL-2.0-or-later
// Perfetto's own trace processor, as its page runs it in a worker, under Node: answers the requests of the standard input.
//   node trace_processor.js FOLDER_OF_THE_PAGE < requests > replies
// Both are streams of TraceProcessorRpc messages.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const folder = process.argv[2];
const requests = new Uint8Array(fs.readFileSync(0));
const replies = [];

// What a worker has, and nothing by which the program could tell that it is elsewhere.
class XMLHttpRequest {
  open(_, name) { this.name = path.basename(String(name)); }
  send() { this.response = new Uint8Array(fs.readFileSync(path.join(folder, this.name))); }
}
const worker = {
  XMLHttpRequest, WebAssembly, TextDecoder, TextEncoder, URL, performance, setTimeout, clearTimeout, queueMicrotask, Uint8Array, BigInt, TypeError,
  location: { href: "http://worker/engine_bundle.js" },
  WorkerGlobalScope: class {},
  console: { log: () => {}, warn: () => {}, error: (text) => process.stderr.write(`${text}\n`) },
};
worker.self = worker;
vm.runInContext(fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf8"), vm.createContext(worker));

const port = { postMessage: (data) => replies.push(Buffer.from(data)) };
worker.onmessage({ data: port });
setTimeout(() => {
  port.onmessage({ data: requests });
  fs.writeSync(1, Buffer.concat(replies));
}, 0);
