// Node's own http module: one process, no framework.

import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { parseArgs } from "node:util";

const BODY = Buffer.alloc(1 << 20, "x");
const CHUNK = 16 * 1024;
const HELLO = "Hello, World!";

function answer(request, response) {
  const { url } = request;
  if (url === "/plaintext") {
    whole(response, "text/plain", HELLO);
  } else if (url === "/json") {
    whole(response, "application/json", JSON.stringify({ message: HELLO }));
  } else if (url === "/echo") {
    echo(request, response);
  } else if (url.startsWith("/bytes/")) {
    whole(response, "application/octet-stream", BODY.subarray(0, Number(url.slice(7))));
  } else if (url.startsWith("/chunked/")) {
    chunked(response, Number(url.slice(9)));
  } else {
    response.writeHead(404, { "Content-Length": 0 }).end();
  }
}

function whole(response, type, body) {
  const length = Buffer.byteLength(body);
  response.writeHead(200, { Server: "node", "Content-Type": type, "Content-Length": length }).end(body);
}

function echo(request, response) {
  const fields = { Server: "node", "Content-Type": "application/octet-stream" };
  const length = request.headers["content-length"];
  response.writeHead(200, length === undefined ? fields : { ...fields, "Content-Length": length });
  request.pipe(response);
}

function chunked(response, length) {
  response.writeHead(200, { Server: "node", "Content-Type": "application/octet-stream" });
  let at = 0;
  const more = () => {
    while (at < length) {
      const piece = BODY.subarray(at, Math.min(at + CHUNK, length));
      at += piece.length;
      if (!response.write(piece)) return response.once("drain", more);
    }
    response.end();
  };
  more();
}

const names = { port: { type: "string", default: "0" }, cert: { type: "string" }, key: { type: "string" } };
const { port, cert, key } = parseArgs({ options: names }).values;
const limits = { keepAliveTimeout: 600_000, noDelay: true };
const server = cert
  ? https.createServer({ ...limits, cert: readFileSync(cert), key: readFileSync(key) }, answer)
  : http.createServer(limits, answer);
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 1024 }, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
