// An edge node with one device, made with the Sparkplug client of Eclipse Tahu. Commands are lines of JSON on standard input:
// {"data": METRICS}, {"lose": METRICS} (counted, but not sent), {"dead": true} (of the device), {"stop": true} (without a death),
// {"answer": BOOLEAN} (whether a request for a rebirth is answered). What happens is a line of JSON on standard output.
const { newClient } = require("sparkplug-client");
const readline = require("readline");

const [url, username, password, compress] = process.argv.slice(2);
const options = compress === "compress" ? { compress: true, algorithm: "GZIP" } : {};
const client = newClient({
  serverUrl: url, username, password, groupId: "plant", edgeNode: "line1", clientId: "line1", version: "spBv1.0",
  keepalive: 5, publishDeath: true,
});
const tell = (event) => process.stdout.write(JSON.stringify(event) + "\n");
const metrics = {
  "Temp/Oil 1": { name: "Temp/Oil 1", alias: 1, type: "Double", value: 60.5 },
  "Drive.Fan": { name: "Drive.Fan", alias: 2, type: "Float", value: 10.5 },
  "Mode": { name: "Mode", alias: 3, type: "String", value: "IDLE" },
  "Level": { name: "Level", alias: 4, type: "Int16", value: -7 },
};
let answers = true;

function births() {
  const control = { name: "Node Control/Rebirth", type: "Boolean", value: false };
  client.publishNodeBirth({ timestamp: Date.now(), metrics: [control] }, options);
  client.publishDeviceBirth("press7", { timestamp: Date.now(), metrics: Object.values(metrics) }, options);
}

client.on("birth", () => { births(); tell({ event: "born" }); });
client.on("ncmd", (payload) => {
  const asked = payload.metrics.some((each) => each.name === "Node Control/Rebirth" && each.value === true);
  tell({ event: "ncmd", rebirth: asked, at: Date.now() });
  if (asked && answers) births();
});
client.on("error", (error) => tell({ event: "error", text: String(error) }));

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  if (command.answer !== undefined) answers = command.answer;
  if (command.lose) client.incrementSeqNum();
  if (command.data) {
    const timestamp = Date.now();
    const changed = Object.entries(command.data).map(([name, value]) => {
      metrics[name].value = value;
      return { alias: metrics[name].alias, type: metrics[name].type, value, timestamp };
    });
    client.publishDeviceData("press7", { timestamp, metrics: changed }, options);
  }
  if (command.dead) client.publishDeviceDeath("press7", { timestamp: Date.now() });
  if (command.stop) process.exit(0); // without DISCONNECT: the broker publishes the will
}).on("close", () => process.exit(0));
