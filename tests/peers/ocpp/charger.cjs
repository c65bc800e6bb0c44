// A charger by the library ocpp-rpc: node charger.cjs URL ID SUBPROTOCOL,… [strict] [PASSWORD CA-FILE]
//
// A line on standard input, {"id": 1, "method": "Heartbeat", "params": {}}, is a call; it is sent again, as chargers do, until it
// is answered. A line on standard output is a result {"id", "result"}, an error {"id", "error"}, a request of the server
// {"method", "params"}, which is accepted, or the state of the connection {"connected": subprotocol or null}.
const { readFileSync } = require("node:fs");
const { createInterface } = require("node:readline");
const { RPCClient } = require("ocpp-rpc");

const [endpoint, identity, protocols, mode, password, authority] = process.argv.slice(2);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const client = new RPCClient({
  endpoint,
  identity,
  password,
  protocols: protocols.split(","),
  strictMode: mode === "strict",
  callTimeoutMs: 20000,
  wsOpts: authority ? { ca: readFileSync(authority) } : {},
  reconnect: true,
  backoff: { initialDelay: 100, maxDelay: 300 },
});
client.on("open", () => say({ connected: client.protocol }));
client.on("disconnect", () => say({ connected: null }));
client.on("strictValidationFailure", ({ error }) => say({ invalid: String(error) }));
client.handle(({ method, params }) => {
  say({ method, params });
  return { status: "Accepted" };
});

const waiting = [];
let sending = false;
async function send() {
  if (sending) return;
  sending = true;
  while (waiting.length) {
    const { id, method, params } = waiting[0];
    try {
      say({ id, result: await client.call(method, params) });
      waiting.shift();
    } catch (error) {
      if (error.rpcErrorCode && !error.message.includes("disconnect") && !error.message.includes("timeout")) {
        say({ id, error: error.rpcErrorCode, text: error.message });
        waiting.shift();
      } else {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
  sending = false;
}

async function main() {
  for (;;) {
    try {
      await client.connect();
      break;
    } catch (error) {
      say({ refused: error.message });
      if (error.code >= 400 || error.message.includes("subprotocol")) process.exit(1);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    waiting.push(JSON.parse(line));
    send();
  });
  lines.on("close", () => client.close({ code: 1000 }).finally(() => process.exit(0)));
}
main();
