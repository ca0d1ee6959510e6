"""Correction: what lists and status calls show, and what the guest agent says.

Recordings 1, 788 (nodes, by privilege), 24, 96, 602, 603 (VMs), 64, 250 (containers), 9, 813 (network),
55, 67, 97, 1044 (agent), and GET .../time of a node. Source: PVE/API2/Nodes.pm, PVE/QemuServer.pm,
PVE/API2/Qemu/Agent.pm.
"""

from __future__ import annotations

from typing import Any

from fakepve import PveError
from fakepve import agent as guest_agent
from fakepve.lxc import split_props
from fakepve.server import USER, ok, params

from twin.pve.ct_life import CtLife
from twin.pve.forms import not_implemented

_USAGE = ("cpu", "maxcpu", "mem", "maxmem", "disk", "maxdisk", "uptime")
_PRESSURE_SINCE = 9


class Views(CtLife):
    """GETs. `node_stats` overrides a node's usage: name -> {"maxmem": bytes, "cpu": share, ...}."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.node_stats: dict[str, dict[str, float]] = {}

    def _routes_network(self) -> list[Any]:
        return [("GET", "/nodes/{node}/network", self._network), ("GET", "/nodes/{node}/time", self._time)]

    async def _time(self, v: dict[str, Any], user: str) -> dict[str, Any]:
        """The node's clock, which keeps UTC."""
        now = int(self.now())
        return {"time": now, "localtime": now, "timezone": "Etc/UTC"}

    async def _network(self, v: dict[str, Any], user: str) -> list[dict[str, Any]]:
        """The node's one port and its bridges, those the user may use."""
        audit = self.allowed(user, f"/nodes/{v['node']}", "Sys.Audit")
        steady = {"active": 1, "method": "manual", "method6": "manual", "families": ["inet"]}
        found: list[dict[str, Any]] = [{**steady, "iface": "eno1", "type": "eth", "priority": 3}]
        for bridge in sorted(self.bridges):
            if audit or self._may_see(user, bridge):
                found.append({**steady, "iface": bridge, "type": "bridge", "priority": 4, "autostart": 1})
        wanted = {"any_bridge": "bridge"}.get(v.get("type", ""), v.get("type"))
        return [item for item in found if wanted in (None, item["type"])]

    def _may_see(self, user: str, bridge: str) -> bool:
        """Who may use one VLAN of a bridge sees the bridge: check_sdn_bridge in PVE/RPCEnvironment.pm."""
        path = f"/sdn/zones/localnetwork/{bridge}"
        below = {entry.path for entry in self.access.acl if entry.path.startswith(path + "/")}
        return any(self.allowed(user, one, "SDN.Use") for one in (path, *below))

    async def _nodes(self, request: Any) -> Any:
        return await self.through_schema(request, self._node_list)

    async def _node_list(self, v: dict[str, Any], user: str) -> list[dict[str, Any]]:
        found = []
        for name, state in sorted(self.nodes.items()):
            online = state.get("online", True)
            item: dict[str, Any] = {
                "node": name,
                "id": f"node/{name}",
                "type": "node",
                "level": "",
                "status": "online" if online else "offline",
                "ssl_fingerprint": ":".join(["00"] * 32),
            }
            if online and self.allowed(user, f"/nodes/{name}", "Sys.Audit"):
                item.update(self._node_stats(online), **self.node_stats.get(name, {}))
            found.append(item)
        return found

    # ---------------------------------------------------------------- guests

    def _vm_status(self, vm: Any, listing: bool = False) -> Any:
        data = super()._vm_status(vm, listing)
        data["name"] = vm.config.get("name") or f"VM {vm.vmid}"
        gone = set()
        if vm.status != "running" or self.major < _PRESSURE_SINCE:
            gone |= {"balloon", "diskread", "diskwrite"}
        if self.major < _PRESSURE_SINCE:
            gone |= {key for key in data if key.startswith("pressure")} | {"memhost"}
        if not data.get("serial"):
            gone.add("serial")
        if "agent" not in vm.config:
            gone.add("agent")
        if "vga" not in vm.config:
            gone.add("clipboard")
        if vm.status == "running" and not listing:
            cards = [key for key in sorted(vm.config) if key.startswith("net")]
            data["nics"] = {f"tap{vm.vmid}i{key[3:]}": {"netin": 0, "netout": 0} for key in cards}
            gone |= {"running-qemu", "running-machine"} if self.major < _PRESSURE_SINCE else set()
        return {key: value for key, value in data.items() if key not in gone}

    async def _status_current(self, request: Any) -> Any:
        async def read(v: dict[str, Any], user: str) -> Any:
            return self._vm_status(self.find(v["node"], v["vmid"]))

        return await self.through_schema(request, read)

    async def _qemu_list(self, request: Any) -> Any:
        async def read(v: dict[str, Any], user: str) -> Any:
            mine = [vm for vm in self.vms if vm.node == v["node"]]
            seen = [vm for vm in mine if self.allowed(user, f"/vms/{vm.vmid}", "VM.Audit")]
            return [self._vm_status(vm, listing=True) for vm in seen]

        return await self.through_schema(request, read)

    def _status(self, ct: Any) -> Any:
        data = super()._status(ct)
        if self.major < _PRESSURE_SINCE:
            data = {key: value for key, value in data.items() if not key.startswith("pressure")}
        return data

    # ----------------------------------------------------------------- agent

    async def _agent(self, request: Any) -> Any:
        match = self.resolve(request, "/api2/json")
        if match is None or request.method not in match.methods:
            raise not_implemented(request)
        given = await params(request)
        return ok(await self.answer(request, match, given, request[USER], self._agent_call))

    async def _agent_call(self, match: Any, values: dict[str, Any]) -> Any:
        vm = self.find(values["node"], values["vmid"])
        first, options = split_props(str(vm.config.get("agent", "0")))
        if (options.get("enabled") or first) != "1":
            raise PveError(500, "No QEMU guest agent configured")
        if vm.status != "running":
            raise PveError(500, f"VM {vm.vmid} is not running")
        if vm.agent is None:
            raise PveError(500, "QEMU guest agent is not running")
        if vm.agent_hangs:
            return await super()._agent_call(match, values)
        command = match.template.rpartition("/")[2]
        guest_agent.record(vm, command, values)
        return guest_agent.result(vm, command, values)
