import { reset } from "../../tools/sandbox";
import { faultsOf } from "../support/activation";
import { deployAnsibleLayout } from "../support/ansible-layout";
import { failed, listing, on, prepare, succeeded, systemPlaces, type Deployment } from "../support/deployment";
import { files, fill, identical, mirrors, missingFrom, row } from "../support/faults";

jest.setTimeout(400_000);

let d: Deployment;

beforeAll(async () => {
  d = await prepare("takeover");
});
afterAll(async () => {
  await d.remove();
});

describe("a host that the Ansible playbook deployed", () => {
  it("is taken over without skipping safety, with one restart, and nothing of the playbook's left", async () => {
    const { host, stack } = d;
    await fill(host);
    await deployAnsibleLayout(host);
    await identical(host);
    const old = await on(host, "pgrep -x lsyncd");
    const before = await files(host, host.target);
    // Checks every tenth of a second whether an lsyncd runs.
    await on(
      host,
      `systemd-run --quiet --unit=watch sh -c 'while :; do pgrep -x lsyncd >/dev/null && echo 1 || echo 0; sleep 0.1; done >/tmp/alive'`,
    );
    const text = succeeded(await stack.up());
    await on(host, "systemctl stop watch");
    expect(text).toContain(
      "Taking over the mirror that /etc/lsyncd/lsyncd.conf.lua has set up between the same volumes",
    );
    expect(await faultsOf(host)).toBe("");
    expect((await on(host, "pgrep -x lsyncd")).split("\n")).not.toContain(old);
    expect((await on(host, "pgrep -x lsyncd")).split("\n")).toHaveLength(1);
    // Longest run without one, in tenths of a second.
    const gap = Math.max(
      ...(await on(host, "cat /tmp/alive"))
        .replaceAll("\n", "")
        .split("1")
        .map((zeros) => zeros.length),
    );
    expect(gap).toBeLessThan(40);
    expect(missingFrom(await files(host, host.target), before)).toBe(0);
    await mirrors(host);
    await identical(host);
    expect(await on(host, "ls /etc/systemd/system | grep lsyncd")).toBe(
      "lsyncd-monitor.service\nlsyncd-monitor.timer\nlsyncd-undo.service\nlsyncd-verify.service\nlsyncd-verify.timer\nlsyncd.service.d",
    );
    await row({
      injected: "A host that the Ansible playbook deployed, taken over",
      happened: `LSYNCD_SKIP_SAFETY was not needed; lsyncd was down for ${gap / 10} s; no old file was left`,
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });

  it("keeps its packages on destroy, and loses everything else that was installed", async () => {
    const { host, stack } = d;
    const volumes = [await files(host, host.source), await files(host, host.target)];
    succeeded(await stack.destroy());
    expect(await on(host, "dpkg-query -W -f '${db:Status-Status}' lsyncd")).toBe("installed");
    expect(
      await on(
        host,
        "find /etc /usr/local /var/lib /var/log -path '*lsyncd*' -type f -not -path '*/dpkg/*' -not -path '/etc/rc*' -not -path '/var/lib/systemd/*'; pgrep -a lsyncd; true",
      ),
    ).toBe("/etc/init.d/lsyncd\n/var/lib/lsyncd-as-code/volumes");
    expect([await files(host, host.source), await files(host, host.target)]).toEqual(volumes);
  });
});

describe("an lsyncd that mirrors something else", () => {
  it("causes a refusal, and keeps running", async () => {
    const { host, stack } = d;
    await reset(host);
    await fill(host, 20);
    await on(host, "mkdir -p /srv/a /srv/b");
    await deployAnsibleLayout(host, "/srv/a", host.target);
    await on(host, "echo mirrored >/srv/a/file; sleep 3");
    const places = [...systemPlaces.filter((place) => !place.startsWith("/var/log")), host.target];
    const before = await listing(host, ...places);
    const text = failed(await stack.up(undefined, { LSYNCD_SKIP_SAFETY: "true" }));
    expect(text).toContain(
      "Another lsyncd configuration, /etc/lsyncd/lsyncd.conf.lua, mirrors /srv/a/ to /mnt/storage_do_2/",
    );
    expect(await listing(host, ...places)).toBe(before);
    expect(await on(host, `cat ${host.target}/file`)).toBe("mirrored");
  });
});
