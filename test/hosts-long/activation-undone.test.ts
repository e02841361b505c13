import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { reset } from "../../tools/sandbox";
import { faultsOf, installed } from "../support/activation";
import { Changes } from "../support/changes";
import { copyRepository } from "../support/clone";
import { failed, on, succeeded } from "../support/deployment";
import { attempt, fill, full, identical, mirrors, row } from "../support/faults";

jest.setTimeout(600_000);

// Deployments that fail, and two at once.

let c: Changes;

beforeAll(async () => {
  c = await Changes.prepare("undone");
});
afterAll(async () => {
  await c.remove();
});

beforeAll(async () => {
  await c.change();
  await c.completes();
});

const state = "/var/lib/lsyncd-as-code";

describe("a failing deployment", () => {
  it("changes nothing if a file with a secret has disappeared, and uploads it again as announced", async () => {
    const { host, stack } = c.d;
    const secret = "grep -o 'ping/.*' /etc/lsyncd/alerts.conf";
    await c.change({ heartbeatUrl: "https://hc.example.com/ping/one" });
    // The package that the address needs is installed between the preflight and the activation. The deployment in force has no address.
    const hook = "/etc/apt/apt.conf.d/zz-test";
    await on(host, `echo 'DPkg::Pre-Invoke { "rm -r ${state}/kept && touch /root/lost"; };' >${hook}`);
    const text = await c.rolledBack().finally(() => on(host, `rm ${hook}`));
    await on(host, "rm /root/lost");
    expect(text).toContain("/etc/lsyncd/alerts.conf is missing, although the preflight stores it");
    expect(text).toContain("Nothing was changed on sqlite-1");
    expect((await attempt(host, secret)).output).toBe("");
    succeeded(await stack.up(["--skip-preview", "--replace", "**-preflight"]));
    expect(await on(host, secret)).toBe('ping/one"');
    // A repair needs no new copy.
    await on(host, "sed -i 's#ping/one#ping/by-hand#' /etc/lsyncd/alerts.conf");
    expect(succeeded(await stack.up())).not.toContain("preflight updated");
    expect(await on(host, secret)).toBe('ping/one"');
    await c.change();
    await c.completes();
    await row({
      injected: "A file with a secret lost before its activation",
      happened: "refused before anything was changed; `--replace` sent it again",
      lost: await c.lost(),
    });
  });

  it.each([
    ["lsyncd", "/etc/lsyncd/lsyncd.conf.lua", "settings {"],
    ["bash", "/usr/local/bin/lsyncd-monitor.sh", "#!/bin/bash\nif true; then"],
    ["perl", "/usr/local/lib/lsyncd-as-code/lsyncd-supervisor", "#!/usr/bin/perl\nmy $x = ;"],
    ["systemd", "/etc/systemd/system/lsyncd.service.d/override.conf", "[Service]\nRestartSec=soon"],
    ["systemd", "/etc/systemd/system/lsyncd-monitor.timer", "[Timer]\nOnCalendar=every now and then"],
  ])("is refused before anything is changed if %s rejects a file: %s", async (program, path, text) => {
    // The same version with this one file broken.
    const copy = await mkdtemp(join(tmpdir(), "lsyncd-as-code-test-"));
    try {
      await copyRepository(copy, (file) => !file.startsWith("test/"));
      const template = join(copy, "templates", path);
      await writeFile(existsSync(template) ? template : `${template}.hbs`, `${text}\n`);
      const said = await c.rolledBack(c.d.sameStack(copy));
      expect(said).toMatch(new RegExp(`${program} (refuses|warns about) ${path}`));
      expect(said).toContain("Nothing was changed on sqlite-1");
    } finally {
      await rm(copy, { recursive: true, force: true });
    }
  });

  it("is undone if the unit cannot start", async () => {
    await on(c.d.host, "mkdir -p /etc/systemd/system/lsyncd.service.d");
    await c.change();
    await on(
      c.d.host,
      `printf '[Service]\\nExecStartPre=/bin/sh -c "! grep -q ${c.recipient} /etc/lsyncd/alerts.conf"\\n' >/etc/systemd/system/lsyncd.service.d/zz-test.conf`,
    );
    const text = await c.rolledBack();
    expect(text).toMatch(/Job for lsyncd.service failed|lsyncd did not keep running/);
    await on(c.d.host, "rm /etc/systemd/system/lsyncd.service.d/zz-test.conf && systemctl daemon-reload");
    await c.completes();
    await row({
      injected: "A unit that fails to start",
      happened: "undone; the old deployment kept running",
      lost: await c.lost(),
    });
  });
});

describe("a disk that rejects writes", () => {
  it.each([
    [
      "/etc/lsyncd is read-only",
      "mount --bind /etc/lsyncd /etc/lsyncd && mount -o remount,bind,ro /etc/lsyncd",
      "/etc/lsyncd",
    ],
    ["/etc/lsyncd is full", full("/etc/lsyncd"), "/etc/lsyncd"],
    [`${state} is full`, full(state), state],
  ])("causes the deployment to be refused or undone: %s", async (injected, how, place) => {
    const { host } = c.d;
    await c.change();
    await on(host, how);
    // The copier of databases keeps its lists in the state directory, so it waits until there is room.
    const text = place === state ? await c.unchanged() : await c.rolledBack();
    expect(text).toMatch(/No space left on device|Read-only file system/);
    if (place === state) expect(text).toContain(`On sqlite-1 no space is left on the file system of ${state}.`);
    expect(text).toMatch(/Nothing was changed on sqlite-1|sqlite-1 runs its previous deployment again/);
    await on(host, `umount ${place}`);
    await c.completes();
    await row({
      injected: `A deployment when ${injected}`,
      happened: "rejected or undone; the old one kept running",
      lost: await c.lost(),
    });
  });
});

describe("lsyncd masked by an operator", () => {
  it("stays off, with a reminder; while it runs, a change is refused before anything is modified", async () => {
    const { host, stack } = c.d;
    await on(host, "systemctl mask lsyncd");
    await c.change();
    const before = await installed(host);
    expect(failed(await stack.up())).toContain(
      "lsyncd.service is masked, so it could not be started: systemctl unmask lsyncd",
    );
    expect(await installed(host)).toBe(before);
    await mirrors(host);
    await on(host, "systemctl stop lsyncd");
    expect(succeeded(await stack.up())).toContain(
      "was stopped by an operator and stays stopped; start it with: systemctl unmask lsyncd && systemctl start lsyncd",
    );
    expect((await attempt(host, "pgrep -x lsyncd")).code).toBe(1);
    await on(host, "systemctl unmask lsyncd && systemctl start lsyncd");
    await mirrors(host);
    await c.change();
    await c.completes();
  });
});

describe("two deployments at once", () => {
  it("from two stacks: one wins, the other is refused, and nothing is mixed", async () => {
    await c.d.stack.configure([c.cutter.through]);
    succeeded(await c.d.stack.destroy());
    await reset(c.d.host);
    await fill(c.d.host, 150);
    const other = await c.d.otherStack("other");
    await other.configure([c.d.host], { delay: 9, alertRecipients: "other@example.com" });
    const both = await Promise.all([c.d.stack.up(), other.up()]);
    const codes = both.map(({ code }) => code);
    if (codes.filter((code) => code === 0).length !== 1) throw new Error(both.map(({ stdout }) => stdout).join("\n"));
    const loser = both.find(({ code }) => code !== 0);
    expect(`${loser?.stdout}${loser?.stderr}`).toMatch(
      /This host was deployed by another stack, organization\/lsyncd\//,
    );
    expect(await faultsOf(c.d.host)).toBe("");
    const won = codes[0] === 0 ? "test" : "other";
    expect(await on(c.d.host, "grep delay /etc/lsyncd/lsyncd.conf.lua")).toContain(won === "test" ? "= 1," : "= 9,");
    expect(await on(c.d.host, "grep '^recipient' /etc/lsyncd/alerts.conf")).toBe(
      `recipient = "${won === "test" ? "security@forwardemail.net" : "other@example.com"}"`,
    );
    await mirrors(c.d.host);
    await identical(c.d.host);
    await row({
      injected: "Two deployments of one host at once, from two stacks",
      happened: "one in force, the other refused",
      lost: await c.lost(),
    });
  });
});
