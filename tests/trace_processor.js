// Serves Perfetto's trace processor, as its web page has it, on a Unix socket:
//
//     node trace_processor.js FOLDER SOCKET
//
// FOLDER holds engine_bundle.js, which expects to run in a web worker, and its .wasm files.
"use strict";
const fs = require("fs");
const net = require("net");
const path = require("path");
const vm = require("vm");

const [folder, socket] = process.argv.slice(2);

class FileRequest {
  open(method, url) {
    this.file = path.join(folder, path.basename(url));
  }
  send() {
    this.response = new Uint8Array(fs.readFileSync(this.file)).buffer;
  }
}

const worker = {
  self: { location: { href: "file:///" } },
  process: undefined,
  console: { log() {}, warn() {}, error() {} },
  WorkerGlobalScope: class {},
  XMLHttpRequest: FileRequest,
};
const bundle = fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf8");
vm.runInThisContext(`(function(${Object.keys(worker)}) {${bundle}\n})`)(...Object.values(worker));

let client;
const port = { postMessage: (bytes) => client.write(bytes) };
worker.self.onmessage({ data: port });

const server = net.createServer((connection) => {
  client = connection;
  connection.on("data", (bytes) => port.onmessage({ data: new Uint8Array(bytes) }));
});
setImmediate(() => server.listen(socket)); // the engine is ready by then
