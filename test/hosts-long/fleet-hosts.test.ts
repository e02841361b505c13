import { boot, kill, type SandboxHost } from "../../tools/sandbox";
import type { HostStatus } from "../../cli/status/schema";
import { eventually, failed, hostAt, on, prepare, succeeded, type Deployment } from "../support/deployment";
import { runTool } from "../support/tools";

jest.setTimeout(400_000);

let d: Deployment;
const host = (number: number): SandboxHost => hostAt(d, number);
const state = (number: number): Promise<string> => on(host(number), "systemctl is-active lsyncd 2>/dev/null || true");

// A valid key that belongs to no host.
const otherKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2xYFbD4cWCqsKFJuTDJmCTzmEUW0gGPGCvYIkGBkbc";
const records = "/var/lib/lsyncd-as-code";

async function status(): Promise<{ code: number; all: Record<string, HostStatus> }> {
  const { code, stdout } = await runTool(d.stack, "cli/status.ts", ["--json", "--timeout", "20"]);
  const list = JSON.parse(stdout) as HostStatus[];
  return { code, all: Object.fromEntries(list.map((one) => [one.host, one])) };
}

beforeAll(async () => {
  d = await prepare("fleet", { hosts: 4, volumeSizeMb: 64 });
  await Promise.all(d.hosts.map((one) => on(one, `echo mail >${one.source}/mail`)));
});
afterAll(async () => {
  await d.remove();
});

describe("a fleet with faulty hosts", () => {
  it("is deployed where possible, and each error names its host", async () => {
    await kill(host(2));
    // Too little room for a deployment.
    await on(host(4), `mkdir -p ${records} && mount -t tmpfs -o size=32k tmpfs ${records}`);
    await d.configure({}, { "sqlite-3": { hostKey: otherKey } });
    const text = failed(await runTool(d.stack, "cli/pulumi.ts", ["up", "--yes"]));
    expect(await state(1)).toBe("active");
    expect(await Promise.all([3, 4].map(state))).not.toContain("active");
    expect(text).toMatch(/error: sqlite-2 could not be reached, .*: root@127\.\S+ port \d+: connect ECONNREFUSED/);
    expect(text).toMatch(
      /error: sqlite-3 could not be reached, .*: root@127\.\S+ port \d+: its key \S+ does not match the known one/,
    );
    expect(text).toMatch(/sqlite-4-activation\):[\s\S]*No space left on device/);
    expect(text).not.toMatch(/sqlite-1-\S+\):\s+error/);
  });

  it("is reported host by host by npm run status, at once and with its exit code", async () => {
    const began = Date.now();
    const { code, all } = await status();
    expect(Date.now() - began).toBeLessThan(60_000);
    expect(code).toBe(1);
    expect(all["sqlite-1"]).toMatchObject({
      lsyncd: { state: "active", restarts: 0 },
      checks: { volumes: { verdict: "ok" } },
      backlog: expect.any(Number) as number,
      drift: [],
    });
    expect(all["sqlite-2"]?.problems[0]).toContain("cannot be reached");
    expect(all["sqlite-3"]?.problems[0]).toContain("does not match the known one");
    expect(all["sqlite-4"]?.healthy).toBe(false);
  });

  it("is complete after the repair, and the next run changes nothing", async () => {
    await boot(host(2));
    await on(host(4), `umount ${records}`);
    await d.configure();
    succeeded(await runTool(d.stack, "cli/pulumi.ts", ["up", "--yes", "--skip-preview"]));
    expect(await Promise.all([1, 2, 3, 4].map(state))).toEqual(["active", "active", "active", "active"]);
    expect(succeeded(await d.stack.up())).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
  });
});

describe("npm run status", () => {
  it("reports a healthy fleet as healthy", async () => {
    // The monitor's first run is soon after the deployment; without it nothing is known of its verdict.
    await Promise.all(d.hosts.map((one) => on(one, "systemctl start lsyncd-monitor.service || true")));
    const text = await eventually(async () => {
      const { code, stdout } = await runTool(d.stack, "cli/status.ts", []);
      if (code !== 0) throw new Error(stdout);
      return stdout;
    });
    expect(text).toMatch(/^host +verdict +lsyncd +since +restarts +volumes +backlog +behind +databases +disk/);
    expect(text).toMatch(/^sqlite-1 +ok +active .* ok +0 +0s/m);
    expect(text).toContain("all 4 healthy");
  });

  it("reports problems, and a hanging host delays no other", async () => {
    await on(host(1), `umount -l ${host(1).target}`);
    await on(host(2), "systemctl stop lsyncd; chmod 0600 /etc/lsyncd/lsyncd.conf.lua");
    await on(host(3), "lsyncd-failover begin a test");
    // Its root shell never ends: as on a host whose disk has gone.
    await on(
      host(4),
      "mv /usr/bin/dpkg-query /usr/bin/dpkg-query.gone; printf '#!/bin/sh\\nsleep 300\\n' >/usr/bin/dpkg-query; chmod +x /usr/bin/dpkg-query",
    );
    const began = Date.now();
    const { code, all } = await status();
    const seconds = (Date.now() - began) / 1000;
    await on(host(4), "mv /usr/bin/dpkg-query.gone /usr/bin/dpkg-query; pkill -x sleep; true");
    expect(seconds).toBeLessThan(45);
    expect(code).toBe(1);
    expect(all["sqlite-1"]?.checks?.volumes?.text).toMatch(/the target volume is not mounted/);
    expect(all["sqlite-2"]?.lsyncd?.state).toMatch(/^inactive/);
    expect(all["sqlite-2"]?.drift).toEqual(["/etc/lsyncd/lsyncd.conf.lua has mode 0600 instead of 0644"]);
    expect(all["sqlite-3"]?.lsyncd?.held).toMatch(/^failover: since .*a test/);
    expect(all["sqlite-4"]?.problems).toEqual(["no answer within 20 s"]);
    await on(host(1), `mount ${host(1).target}`);
    await on(host(2), "chmod 0644 /etc/lsyncd/lsyncd.conf.lua");
    await on(host(3), "lsyncd-failover end --keep source");
  });
});

describe("a part of the fleet", () => {
  // As docs/operations.md describes it.
  const one = ["--target", "**Mirror::sqlite-1", "--target-dependents"];

  it("is selected by a pattern that matches sqlite-1, but neither sqlite-10 nor sqlite-1-eu", async () => {
    // Two under other names: those are new resources, and the old ones are removed.
    await d.configure({ delay: 3 }, { "sqlite-3": { name: "sqlite-10" }, "sqlite-4": { name: "sqlite-1-eu" } });
    const text = succeeded(await d.stack.preview(one));
    expect(text).toMatch(/::sqlite-1-activation\]/);
    expect(text).not.toMatch(/::sqlite-(1-eu|10|2|3|4)-/);
  });

  it("is undeployed when its host is removed from the stack, and nothing else changes", async () => {
    await d.configure({}, {}, [host(1), host(2), host(3)]);
    const text = succeeded(await d.stack.up());
    expect(text).toMatch(/sqlite-4-activation deleted/);
    expect(text).not.toMatch(/sqlite-[123]-\S+ (created|updated|deleted|replaced)/);
    expect(
      await on(host(4), "ls /etc/lsyncd /usr/local/bin/lsyncd-monitor.sh 2>/dev/null; pgrep -x lsyncd; true"),
    ).toBe("");
    expect(await on(host(4), `cat ${host(4).source}/mail ${host(4).target}/mail`)).toBe("mail\nmail");
  });
});
