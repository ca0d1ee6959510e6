// Drives a real zigbee-herdsman: reads {"do": NAME, ...} lines, answers each with one line, prints events in between.
"use strict";
const {Controller, setLogger} = require("zigbee-herdsman");
const readline = require("node:readline");

const [path, folder] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const complain = (message) => process.stderr.write(`${typeof message === "function" ? message() : message}\n`);
setLogger({debug() {}, info: complain, warning: complain, error: complain});

const EVENTS = {
    deviceJoined: (e) => ({ieee: e.device.ieeeAddr}),
    deviceInterview: (e) => ({ieee: e.device.ieeeAddr, status: e.status}),
    deviceLeave: (e) => ({ieee: e.ieeeAddr}),
    message: (e) => ({ieee: e.device.ieeeAddr, type: e.type, cluster: e.cluster, data: e.data}),
    adapterDisconnected: () => ({}),
};
let controller;

function make() {
    controller = new Controller({
        network: {
            networkKey: [1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 13],
            panID: 0x1a62,
            extendedPanID: [1, 2, 3, 4, 5, 6, 7, 8],
            channelList: [15],
        },
        serialPort: {path, adapter: "zstack"},
        databasePath: `${folder}/database.db`,
        databaseBackupPath: `${folder}/database.db.backup`,
        backupPath: `${folder}/backup.json`,
        adapter: {disableLED: true},
        acceptJoiningDeviceHandler: async () => true,
    });
    for (const [name, facts] of Object.entries(EVENTS)) controller.on(name, (e) => say({event: name, ...facts(e)}));
}

const endpoint = (ieee) => controller.getDeviceByIeeeAddr(ieee).getEndpoint(1);
const DO = {
    start: async () => {
        make();
        return controller.start();
    },
    stop: async () => controller.stop(),
    permit: async ({seconds}) => controller.permitJoin(seconds),
    command: async ({ieee, cluster, command, payload}) => endpoint(ieee).command(cluster, command, payload ?? {}),
    read: async ({ieee, cluster, attributes}) => endpoint(ieee).read(cluster, attributes),
    write: async ({ieee, cluster, values}) => endpoint(ieee).write(cluster, values),
    configure: async ({ieee, cluster, attribute}) => {
        await endpoint(ieee).bind(cluster, controller.getDevicesByType("Coordinator")[0].getEndpoint(1));
        const report = {attribute, minimumReportInterval: 0, maximumReportInterval: 3600, reportableChange: 1};
        return endpoint(ieee).configureReporting(cluster, [report]);
    },
    device: async ({ieee}) => {
        const d = controller.getDeviceByIeeeAddr(ieee);
        const facts = {model: d.modelID, manufacturer: d.manufacturerName, type: d.type, power: d.powerSource};
        const {inputClusters, outputClusters} = d.getEndpoint(1);
        return {...facts, inputClusters, outputClusters, interviewed: d.interviewState};
    },
    ask_for_image: async ({ieee}) => {
        const notify = {payloadType: 0, queryJitter: 100};
        return endpoint(ieee).commandResponse("genOta", "imageNotify", notify, {sendPolicy: "immediate"});
    },
    group: async ({ieee, id, command}) => {
        const group = controller.getGroupByID(id) ?? controller.createGroup(id);
        await endpoint(ieee).addToGroup(group);
        return group.command("genOnOff", command, {});
    },
    lqi: async () => controller.getDevicesByType("Coordinator")[0].lqi(),
    network: async () => controller.getNetworkParameters(),
    backup: async () => controller.backup(),
    leave: async ({ieee}) => controller.getDeviceByIeeeAddr(ieee).removeFromNetwork(),
};

readline.createInterface({input: process.stdin}).on("line", async (line) => {
    const asked = JSON.parse(line);
    try {
        say({done: asked.do, result: (await DO[asked.do](asked)) ?? null});
    } catch (error) {
        say({done: asked.do, error: String(error)});
    }
});
process.stdin.on("end", () => process.exit(0));
