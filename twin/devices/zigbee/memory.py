"""The radio's non-volatile memory: items and tables, and what the firmware itself does with them.

Layouts are those of Z-Stack 3.x.0 on a CC2652 (memory aligned), as zigpy-znp declares them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import zigpy_znp.types as t
from zigpy_znp.types.nvids import ExNvIds, OsalNvIds

IEEE = "00:12:4b:00:01:02:03:04"
NOBODY = "ff:ff:ff:ff:ff:ff:ff:ff"
CONFIGURED = 0x60  # where zigbee-herdsman notes that it set this radio up
ROOM = 16  # entries of each table
_KEYS = (OsalNvIds.NWKKEY, OsalNvIds.NWK_ACTIVE_KEY_INFO, OsalNvIds.NWK_ALTERN_KEY_INFO)
_NETWORK = (OsalNvIds.NIB, OsalNvIds.BDBNODEISONANETWORK, CONFIGURED, *_KEYS)


@dataclass
class Memory:
    """What survives a power cut.

    Args:
        items: item id -> its bytes.
        tables: (table, row) -> its bytes, Z-Stack's "extended" items.
    """

    items: dict[int, bytes] = field(default_factory=dict)
    tables: dict[tuple[int, int], bytes] = field(default_factory=dict)

    def write(self, item: int, offset: int, data: bytes) -> None:
        """Write into an item that is there."""
        self.items[item] = _patched(self.items[item], offset, data)

    def write_row(self, row: tuple[int, int], offset: int, data: bytes) -> None:
        """Write into a table's row that is there."""
        self.tables[row] = _patched(self.tables[row], offset, data)

    def dump(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {
            "items": {str(int(key)): value.hex() for key, value in self.items.items()},
            "tables": {f"{int(table)}/{row}": value.hex() for (table, row), value in self.tables.items()},
        }

    @classmethod
    def load(cls, data: dict[str, Any]) -> Memory:
        """The memory that `dump` described."""
        rows = {tuple(map(int, key.split("/"))): bytes.fromhex(v) for key, v in data["tables"].items()}
        return cls(
            {int(key): bytes.fromhex(value) for key, value in data["items"].items()},
            {(row[0], row[1]): value for row, value in rows.items()},
        )


def fresh() -> Memory:
    """The memory of a radio as it leaves the factory."""
    memory = Memory({OsalNvIds.EXTADDR: _raw(t.EUI64.convert(IEEE)), OsalNvIds.STARTUP_OPTION: b"\0"})
    _clear_network(memory)
    return memory


def reset(memory: Memory) -> None:
    """What a restart of the firmware does: it forgets what STARTUP_OPTION says, then clears that wish.

    Source: Z-Stack Monitor and Test API, ZCD_NV_STARTUP_OPTION: bit 0 configuration, bit 1 network state.
    """
    wish = memory.items.get(OsalNvIds.STARTUP_OPTION, b"\0")[0]
    if wish & t.StartupOptions.ClearState:
        _clear_network(memory)
    if wish & t.StartupOptions.ClearConfig:
        kept = {OsalNvIds.EXTADDR, *_NETWORK, OsalNvIds.APS_LINK_KEY_TABLE, OsalNvIds.TCLK_SEED}
        memory.items = {key: value for key, value in memory.items.items() if key in kept}
    memory.items[OsalNvIds.STARTUP_OPTION] = b"\0"


def form(memory: Memory) -> None:
    """Make the network that the commissioning items describe (PAN, channels, key)."""
    items = memory.items
    channels = struct.unpack("<I", items.get(OsalNvIds.CHANLIST, struct.pack("<I", 1 << 11)))[0]
    nib = {
        **dict.fromkeys((name for name in _nib_fields()), 0),
        **{"PassiveAckTimeout": 5, "MaxBroadcastRetries": 2, "MaxDepth": 20, "BroadcastDeliveryTime": 30},
        **{"SecureAllFrames": 1, "SecurityLevel": 5, "SymLink": 1, "TransactionPersistenceTime": 7},
        **{"nwkProtocolVersion": 2, "RouteDiscoveryTime": 13, "beaconOrder": 15, "superFrameOrder": 15},
        **{"nwkLogicalChannel": _first_channel(channels), "channelList": t.Channels(channels)},
        "nwkPanId": struct.unpack("<H", items.get(OsalNvIds.PANID, b"\xff\xff"))[0],
        "nwkCoordExtAddress": ieee(memory),
        "nwkState": t.NwkState.NWK_ROUTER,
        "extendedPANID": t.EUI64.deserialize(
            items.get(OsalNvIds.APS_USE_EXT_PANID, items[OsalNvIds.EXTADDR])
        )[0],
        "nwkKeyLoaded": t.Bool.true,
        "spare1": _key(bytes(16)),
        "spare2": _key(bytes(16)),
        **{"nwkUseMultiCast": t.Bool.true, "nwkIsConcentrator": t.Bool.true},
        **{"nwkLinkStatusPeriod": 15, "nwkRouterAgeLimit": 3, "nwkConcentratorRadius": 10},
    }
    items[OsalNvIds.NIB] = t.NIB(**nib).serialize(align=True)
    items[OsalNvIds.BDBNODEISONANETWORK] = b"\1"
    _load_key(memory, items.get(OsalNvIds.PRECFGKEY, bytes(16)))
    material = t.NwkSecMaterialDesc(FrameCounter=2500, ExtendedPanID=nib["extendedPANID"])
    memory.tables[ExNvIds.NWK_SEC_MATERIAL_TABLE, 0] = material.serialize(align=True)


def formed(memory: Memory) -> bool:
    """Whether the radio has a network to start."""
    return memory.items.get(OsalNvIds.BDBNODEISONANETWORK) == b"\1" and OsalNvIds.NIB in memory.items


def nib_of(memory: Memory) -> Any:
    """The network's facts (PAN, channel ...): Z-Stack's NIB."""
    return t.NIB.deserialize(memory.items[OsalNvIds.NIB], align=True)[0]


def ieee(memory: Memory) -> Any:
    """The radio's own address."""
    return t.EUI64.deserialize(memory.items[OsalNvIds.EXTADDR])[0]


def network_id(memory: Memory) -> str | None:
    """What a device must share to be heard: PAN, extended PAN and key; None without a network."""
    if not formed(memory):
        return None
    nib = nib_of(memory)
    key = memory.items[OsalNvIds.NWK_ACTIVE_KEY_INFO][1:17]
    return f"{nib.nwkPanId:04x}-{_raw(nib.extendedPANID).hex()}-{key.hex()}"


def remember(memory: Memory, address: Any, nwk: int) -> None:
    """Note a joined device where a backup looks for it; a known one keeps its row."""
    rows = [row for table, row in memory.tables if table == ExNvIds.ADDRMGR]
    known = {row: t.AddrMgrEntry.deserialize(_entry(memory, row), align=True)[0] for row in sorted(rows)}
    free = t.EUI64.convert(NOBODY)
    row = next((r for r, e in known.items() if e.extAddr == address), None)
    if row is None:
        row = next((r for r, e in known.items() if e.extAddr in (free, t.EUI64(bytes(8)))), None)
    if row is not None:
        user = t.AddrMgrUserType.Assoc | t.AddrMgrUserType.Security
        entry = t.AddrMgrEntry(type=user, nwkAddr=nwk, extAddr=address)
        memory.tables[ExNvIds.ADDRMGR, row] = entry.serialize(align=True)


def forget(memory: Memory, address: Any) -> None:
    """Clear a device's row."""
    for table, row in list(memory.tables):
        if table == ExNvIds.ADDRMGR:
            entry = t.AddrMgrEntry.deserialize(_entry(memory, row), align=True)[0]
            if entry.extAddr == address:
                memory.tables[table, row] = _empty_address()


def change_channel(memory: Memory, channels: int) -> None:
    """Move the network to the first of these channels (a bit each)."""
    nib = nib_of(memory)
    nib.nwkLogicalChannel = t.uint8_t(_first_channel(channels))
    nib.channelList = t.Channels(channels)
    nib.nwkUpdateId = t.uint8_t((nib.nwkUpdateId + 1) % 256)
    memory.items[OsalNvIds.NIB] = nib.serialize(align=True)


def _clear_network(memory: Memory) -> None:
    for item in _NETWORK:
        memory.items.pop(item, None)
    # zigbee-herdsman learns from this item's length (24, not 21) that the memory is aligned.
    _load_key(memory, bytes(16))
    del memory.items[OsalNvIds.NWK_ACTIVE_KEY_INFO], memory.items[OsalNvIds.NWK_ALTERN_KEY_INFO]
    memory.items[OsalNvIds.APS_LINK_KEY_TABLE] = struct.pack("<H", 0) + bytes(6 * ROOM)
    memory.items[OsalNvIds.TCLK_SEED] = bytes(range(16))
    material = t.NwkSecMaterialDesc(FrameCounter=0, ExtendedPanID=t.EUI64(bytes(8)))
    for row in range(ROOM):
        memory.tables[ExNvIds.ADDRMGR, row] = _empty_address()
        memory.tables[ExNvIds.TCLK_TABLE, row] = bytes(20)
        memory.tables[ExNvIds.APS_KEY_DATA_TABLE, row] = bytes(24)
        memory.tables[ExNvIds.NWK_SEC_MATERIAL_TABLE, row] = material.serialize(align=True)


def _load_key(memory: Memory, key: bytes) -> None:
    active = t.NwkActiveKeyItems(Active=_key(key), FrameCounter=2500)
    memory.items[OsalNvIds.NWKKEY] = active.serialize(align=True)
    for item in (OsalNvIds.NWK_ACTIVE_KEY_INFO, OsalNvIds.NWK_ALTERN_KEY_INFO):
        memory.items[item] = _key(key).serialize(align=True)


def _key(key: bytes) -> Any:
    return t.NwkKeyDesc(KeySeqNum=0, Key=t.KeyData(key))


def _entry(memory: Memory, row: int) -> bytes:
    return memory.tables[ExNvIds.ADDRMGR, row]


def _empty_address() -> bytes:
    entry = t.AddrMgrEntry(type=t.AddrMgrUserType.Default, nwkAddr=0xFFFF, extAddr=t.EUI64.convert(NOBODY))
    return _raw(entry, align=True)


def _raw(value: Any, **how: Any) -> bytes:
    return bytes(value.serialize(**how))


def _nib_fields() -> list[str]:
    return [field.name for field in t.NIB.fields]


def _first_channel(channels: int) -> int:
    return next((n for n in range(11, 27) if channels >> n & 1), 11)


def _patched(old: bytes, offset: int, data: bytes) -> bytes:
    return old[:offset].ljust(offset, b"\0") + data + old[offset + len(data) :]
