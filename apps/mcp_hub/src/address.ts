import { BlockList, isIP } from "node:net";

/** Tells who is behind our proxies, and believes `X-Forwarded-For` from nobody else. */
export class ClientAddress {
  private readonly proxies = new BlockList();

  /** @param trusted addresses or networks of proxies besides loopback. */
  constructor(trusted: readonly string[]) {
    this.proxies.addSubnet("127.0.0.0", 8, "ipv4");
    this.proxies.addAddress("::1", "ipv6");
    for (const entry of trusted) {
      const [net = "", bits] = entry.split("/");
      const family = isIP(net) === 6 ? "ipv6" : "ipv4";
      if (bits === undefined) this.proxies.addAddress(net, family);
      else this.proxies.addSubnet(net, Number(bits), family);
    }
  }

  /** The nearest address that is not one of our proxies'. */
  of(peer: string | undefined, forwarded: string | undefined): string {
    const chain = [...(forwarded?.split(",") ?? []), peer ?? ""].map((one) => plain(one.trim()));
    let nearest = chain.pop() ?? "";
    while (this.isProxy(nearest)) {
      const next = chain.pop();
      if (next === undefined || !isIP(next)) break;
      nearest = next;
    }
    return nearest;
  }

  private isProxy(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && this.proxies.check(address, family === 6 ? "ipv6" : "ipv4");
  }
}

function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, "");
}
