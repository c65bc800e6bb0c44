// Definitions of Zigbee2MQTT's converters with the payloads that they make, and commands that they accept.
//
//   node zigbee.cjs payloads          a JSON line for each definition with a temperature, an energy register or a thermostat
//   node zigbee.cjs commands < FILE   for each line {"index", "payload"}: how the definition's converters take it
const fs = require("node:fs");
const path = require("node:path");
const zigbee = require("zigbee-herdsman-converters");

const folder = path.join(path.dirname(require.resolve("zigbee-herdsman-converters")), "devices");
const quiet = () => {};
zigbee.setLogger({ debug: quiet, info: quiet, warning: quiet, error: quiet });

function definitions() {
    const found = [];
    for (const file of fs.readdirSync(folder).sort()) {
        if (file.endsWith(".js") && file !== "index.js") found.push(...(require(path.join(folder, file)).definitions ?? []));
    }
    return found;
}

function properties(definition) {
    const found = {};
    const walk = (exposes) => {
        for (const each of exposes) {
            if (each.type === "climate") found["#climate"] = {};
            if (each.property) {
                const { type, access, unit, value_min, value_max, name } = each;
                found[each.property] ??= { type, access, unit, value_min, value_max, name };
            }
            if (each.features) walk(each.features);
        }
    };
    walk(typeof definition.exposes === "function" ? definition.exposes({ isDummyDevice: true }, {}) : definition.exposes);
    return found;
}

class Endpoint {}
class Device {}

// A device that answers every question with a plausible value, and accepts everything that is written to it.
function fake(calls) {
    const written = {};
    const endpoint = Object.assign(new Endpoint(), {
        ID: 1,
        deviceIeeeAddress: "0x0011223344556677",
        getClusterAttributeValue: (_cluster, name) => (name === "divisor" || name.endsWith("Divisor") ? 1000 : 1),
        saveClusterAttributeKeyValue: quiet,
        supportsInputCluster: () => true,
        supportsOutputCluster: () => true,
        clusters: {},
        binds: [],
        meta: {},
        getDevice: () => device,
    });
    for (const name of ["write", "read", "command", "writeStructured", "commandResponse", "writeResponse", "bind", "configureReporting"]) {
        endpoint[name] = async (...given) => (calls.push([name, ...given]), name === "write" && Object.assign(written, given[1]), written);
    }
    const device = Object.assign(new Device(), {
        ieeeAddr: "0x0011223344556677",
        endpoints: [endpoint],
        getEndpoint: () => endpoint,
        customClusters: {},
        meta: {},
        save: quiet,
        addCustomCluster: quiet,
    });
    return [device, endpoint];
}

const big = (value) => Buffer.from([(value >> 24) & 255, (value >> 16) & 255, (value >> 8) & 255, value & 255]);

const float = (value) => {
    const made = Buffer.alloc(4);
    made.writeFloatLE(value);
    return made;
};
// Tags with a type each: the device's temperature, energy and power.
const lumi = Buffer.concat([Buffer.from([3, 0x28, 21, 149, 0x39]), float(123.4), Buffer.from([152, 0x39]), float(12)]);

function messages(definition, cluster) {
    const data = {
        msTemperatureMeasurement: [{ measuredValue: 2150 }],
        manuSpecificYokisTemperatureMeasurement: [{ currentValue: 2150, measuredValue: 2150 }],
        hvacThermostat: [{ localTemp: 2150, occupiedHeatingSetpoint: 2000 }],
        seMetering: [{ currentSummDelivered: 123456, multiplier: 1, divisor: 1000, instantaneousDemand: 1200 }],
        haElectricalMeasurement: [{ activePower: 1200, totalActivePower: 1200 }],
        genAnalogInput: [{ presentValue: 21.5 }],
        genDeviceTempCfg: [{ currentTemperature: 21 }],
        msSoilMoisture: [{ measuredValue: 4000 }],
        genBasic: [{ 65281: { 3: 21, 100: 2150, 149: 123.4, 152: 12 } }],
        manuSpecificLumi: [{ 247: lumi }],
    }[cluster] ?? [{}];
    if (cluster === "manuSpecificTuya") {
        const known = (definition.meta?.tuyaDatapoints ?? []).map(([dp]) => dp);
        const points = known.length ? known : Array.from({ length: 130 }, (_, dp) => dp);
        return points.map((dp) => ({ dpValues: [{ dp, datatype: 2, data: big(215) }] }));
    }
    return data;
}

let sequence = 1;

async function payload(definition) {
    const made = {};
    const [device, endpoint] = fake([]);
    for (const converter of definition.fromZigbee) {
        for (const data of messages(definition, converter.cluster)) {
            for (const type of [converter.type].flat()) {
                const meta = { state: {}, device, logger: { debug: quiet, info: quiet, warning: quiet, error: quiet } };
                const message = { data, type, device, endpoint, cluster: converter.cluster, linkquality: 90, groupID: 0 };
                message.meta = { zclTransactionSequenceNumber: sequence++, frameControl: {} };
                try {
                    Object.assign(made, (await converter.convert(definition, message, quiet, {}, meta)) ?? {});
                } catch {
                    // it needs a message of another form
                }
            }
        }
    }
    try {
        zigbee.postProcessConvertedFromZigbeeMessage(definition, made, {}, device);
    } catch {
        // the device has no options
    }
    return made;
}

async function command(definition, given) {
    const calls = [];
    const [device, endpoint] = fake(calls);
    for (const [key, value] of Object.entries(given)) {
        // A property of one of several endpoints ends with its name: occupied_heating_setpoint_l3.
        const names = key.split("_").map((_, count, parts) => parts.slice(0, parts.length - count).join("_"));
        const name = names.find((each) => definition.toZigbee.some((known) => known.key?.includes(each))) ?? key;
        const converter = definition.toZigbee.find((each) => each.key?.includes(name) || !each.key);
        if (!converter?.convertSet) return `nothing takes ${key}`;
        const meta = { message: given, mapped: definition, options: {}, state: {}, device, endpoint_name: undefined, publish: quiet };
        try {
            const answer = await converter.convertSet(endpoint, name, value, { ...meta, message: { [name]: value } });
            if (answer) calls.push(["answer", answer]); // it waits until the device asks
        } catch (error) {
            if (calls.length && error.message.includes("not confirmed")) continue; // by a device that only answers
            return `${key}: ${error.message}`;
        }
    }
    return calls.length ? "" : "nothing was sent to the device";
}

async function main() {
    const all = definitions();
    const lines = [];
    const prepared = (index) => zigbee.prepareDefinition(all[index]);
    if (process.argv[2] === "payloads") {
        for (let index = 0; index < all.length; index++) {
            const definition = prepared(index);
            const found = properties(definition);
            if (!found.temperature && !found.energy && !found["#climate"]) continue;
            const made = found.temperature || found.energy ? await payload(definition) : {};
            lines.push(JSON.stringify({ index, model: definition.model, total: all.length, properties: found, payload: made }));
        }
    } else {
        for (const line of fs.readFileSync(0, "utf8").split("\n").filter(Boolean)) {
            const { index, payload: given } = JSON.parse(line);
            lines.push(JSON.stringify({ index, error: await command(prepared(index), given) }));
        }
    }
    process.stdout.write(lines.map((line) => `${line}\n`).join(""), () => process.exit(0));
}

main();
