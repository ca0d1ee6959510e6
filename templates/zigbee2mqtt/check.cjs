// Judge candidates with the release's own code: what it would do at its start, in a folder of copies.
//
// usage: node check.cjs RELEASE SCRATCH
//   SCRATCH/now is the data folder as it is, SCRATCH/data (ZIGBEE2MQTT_DATA) the same with the candidates, and
//   SCRATCH/managed.json what Zigbee2MQTT is to take from the environment.
const fs = require("node:fs");
const path = require("node:path");

const [release, scratch] = process.argv.slice(2);
const zigbee2mqtt = (name) => require(path.join(release, "node_modules/zigbee2mqtt/dist/util", `${name}.js`));
const yaml = zigbee2mqtt("yaml").default;
const settings = zigbee2mqtt("settings");

// What tells one Zigbee network from another, as lib/util/settings.ts reads it; nothing where none was ever formed.
function network(folder) {
    const has = (name) => fs.existsSync(path.join(folder, name));
    if (!has("configuration.yaml") || !(has("database.db") || has("coordinator_backup.json"))) return undefined;
    const advanced = {...settings.defaults.advanced, ...yaml.read(path.join(folder, "configuration.yaml")).advanced};
    const reference = /^!(.*) (.*)$/.exec(advanced.network_key);
    if (reference) {
        const name = /\.ya?ml$/.test(reference[1]) ? reference[1] : `${reference[1]}.yaml`;
        advanced.network_key = yaml.read(path.join(folder, name))[reference[2]];
    }
    return JSON.stringify([advanced.network_key, advanced.pan_id, advanced.ext_pan_id]);
}

// Settings that are not in the merged file: a name that this release does not know is passed over by it, silently.
function ignored(wanted, got, at = []) {
    if (wanted !== null && typeof wanted === "object" && !Array.isArray(wanted)) {
        return Object.entries(wanted).flatMap(([key, value]) => ignored(value, got?.[key], [...at, key]));
    }
    const text = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
    return text(wanted) === text(got) ? [] : [at.join(".")];
}

async function main() {
    const before = network(path.join(scratch, "now"));
    if (!(await zigbee2mqtt("onboarding").onboard())) return false;
    const merged = yaml.read(path.join(scratch, "data/configuration.yaml"));
    const unknown = ignored(JSON.parse(fs.readFileSync(path.join(scratch, "managed.json"), "utf8")), merged);
    for (const name of unknown) console.error(`this release of Zigbee2MQTT has no setting ${name}`);
    if (before !== undefined && network(path.join(scratch, "data")) !== before) {
        console.error(
            "the Zigbee network of this guest (key, PAN ID, extended PAN ID) is not the one in the secrets: a new one " +
                "would be formed and every device lost. To keep the guest's: `hearth secrets remove` each of " +
                "zigbee2mqtt/network-key, zigbee2mqtt/pan-id and zigbee2mqtt/ext-pan-id, then deploy again",
        );
        return false;
    }
    return unknown.length === 0;
}

main().then(
    (accepted) => process.exit(accepted ? 0 : 1),
    (error) => {
        console.error(error.message);
        process.exit(1);
    },
);
