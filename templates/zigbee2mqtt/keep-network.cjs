// Loaded before Zigbee2MQTT: an adapter that holds a network which is not ours is left as it is.
//
// zigbee-herdsman would make it forget that network and form the configured one, without a word: whoever moves an
// adapter here without its data would have to pair every device again. Where coordinator_backup.json is, the network
// is ours and zigbee-herdsman decides; HEARTH_OVERWRITE_ADAPTER=1 lets it decide always.
const fs = require("node:fs");
const path = require("node:path");

const adapters = path.join(path.dirname(process.argv[1]), "../zigbee-herdsman/dist/adapter");
const ours = () =>
    process.env.HEARTH_OVERWRITE_ADAPTER === "1" ||
    fs.existsSync(path.join(process.env.ZIGBEE2MQTT_DATA, "coordinator_backup.json"));

function refuse() {
    throw new Error(
        "the adapter holds another Zigbee network, which would be lost with all its devices. Bring the data folder or the " +
            "network key of the home that it comes from (docs/services/zigbee2mqtt.md), or set zigbee2mqtt_overwrite_adapter",
    );
}

function wrap(file, name, method, around) {
    const prototype = require(path.join(adapters, file))[name].prototype;
    const original = prototype[method];
    if (typeof original !== "function") throw new Error(`zigbee-herdsman has no ${name}.${method}: mend ${__filename}`);
    prototype[method] = function (...words) {
        return around.call(this, original, words);
    };
}

// Texas Instruments: "startCommissioning" with a network information base (NIB) in its memory.
wrap("z-stack/adapter/manager.js", "ZnpAdapterManager", "determineStrategy", async function (original, words) {
    const strategy = await original.apply(this, words);
    if (strategy === "startCommissioning" && !ours()) {
        const {NvItemsIds} = require(path.join(adapters, "z-stack/constants/common.js"));
        const Structs = require(path.join(adapters, "z-stack/structs/index.js"));
        if (await this.nv.readItem(NvItemsIds.NIB, 0, Structs.nib)) refuse();
    }
    return strategy;
});

// Silicon Labs: it leaves its network before it forms another.
wrap("ember/ezsp/ezsp.js", "Ezsp", "ezspLeaveNetwork", async function (original, words) {
    if (!ours()) refuse();
    return await original.apply(this, words);
});
