import { mount, umount } from "../../tools/sandbox";
import { faultsOf } from "../support/activation";
import { Changes } from "../support/changes";
import { content, eventually, failed, on, succeeded } from "../support/deployment";
import { attempt, full, identical, mirrors, processes, row, stopped } from "../support/faults";

jest.setTimeout(400_000);

// Effects of a host's maintenance on a deployment: package upgrades, systemd reloading its units, a full
// disk.

const state = "/var/lib/lsyncd-as-code";
const apt = "DEBIAN_FRONTEND=noninteractive apt-get -q -y --allow-downgrades";

let c: Changes;

beforeAll(async () => {
  c = await Changes.prepare("upkeep");
  await c.change();
  await c.completes();
});
afterAll(async () => {
  await c.remove();
});

/** A package of lsyncd with a higher version and its own configuration file at our path. */
async function newerPackage(): Promise<void> {
  await on(
    c.d.host,
    `mkdir -p /srv/package && cd /srv/package && apt-get -q download lsyncd && dpkg-deb -R lsyncd_*.deb new &&
     sed -i 's/^Version: .*/Version: 99.0-1/' new/DEBIAN/control && mkdir -p new/etc/lsyncd &&
     echo 'sync { default.rsync, source = "/etc", target = "/srv/wrong" }' >new/etc/lsyncd/lsyncd.conf.lua &&
     echo /etc/lsyncd/lsyncd.conf.lua >>new/DEBIAN/conffiles && dpkg-deb -b new lsyncd-99.deb`,
  );
}

describe("packages reinstalled, as an upgrade does", () => {
  const again = `${apt} install --reinstall lsyncd rsync`;

  it("while lsyncd mirrors: it continues with the same files", async () => {
    const { host } = c.d;
    await on(host, again);
    await mirrors(host);
    expect(await faultsOf(host)).toBe("");
    await identical(host);
    expect(succeeded(await c.d.stack.preview(["--refresh"]))).not.toMatch(/has other content|is not enabled/);
    await row({
      injected: "lsyncd and rsync installed again (apt-get install --reinstall) while it mirrors",
      happened: "it went on mirroring, with the deployment's own files and units",
      lost: await c.lost(),
    });
  });

  it("while the source is not mounted: nothing is mirrored until it is mounted", async () => {
    const { host } = c.d;
    const before = await content(host, host.target);
    await umount(host, "source");
    await stopped(host);
    await on(host, again);
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect(await processes(host)).toBe("");
    expect(await content(host, host.target)).toBe(before);
    await mount(host, "source");
    await mirrors(host);
    await identical(host);
    await row({
      injected: "The same while the source volume is not mounted",
      happened: "lsyncd waited; mirrored when the volume was mounted",
      lost: await c.lost(),
    });
  });

  it("while an operator has stopped lsyncd: the package starts it, as docs/on-a-host.md says", async () => {
    const { host } = c.d;
    await on(host, `systemctl stop lsyncd && ${again}`);
    expect(await on(host, "systemctl is-active lsyncd")).toBe("active");
    await on(host, "systemctl mask lsyncd && systemctl stop lsyncd");
    await attempt(host, again);
    expect(await processes(host)).toBe("");
    await on(host, "systemctl unmask lsyncd && systemctl start lsyncd");
    await mirrors(host);
  });

  it("while the mirror is in use during a failover: it stays unchanged", async () => {
    const { host } = c.d;
    await on(host, "lsyncd-failover begin");
    await on(host, `echo new >${host.target}/written-in-failover`);
    const before = await content(host, host.target);
    await on(host, again);
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    expect(await processes(host)).toBe("");
    expect(await content(host, host.target)).toBe(before);
    await on(host, "lsyncd-failover end --keep target");
    await mirrors(host);
    await identical(host);
    await row({
      injected: "The same during a failover",
      happened: "the mirror in use was not touched",
      lost: await c.lost(),
    });
  });
});

describe("a newer package of lsyncd with a configuration file at our path", () => {
  it("that asks which file to keep and gets no answer: the deployment's file stays, and deployments are refused until this is fixed", async () => {
    const { host, stack } = c.d;
    await newerPackage();
    expect((await attempt(host, `${apt} install /srv/package/lsyncd-99.deb </dev/null`)).output).toContain(
      "end of file on stdin at conffile prompt",
    );
    expect(await faultsOf(host)).toBe("");
    await mirrors(host);
    await c.change();
    expect(failed(await stack.up())).toContain(
      "the package manager was interrupted earlier. Fix it: dpkg --configure -a",
    );
    expect(await faultsOf(host)).toBe("");
    await on(host, "dpkg --configure -a --force-confold");
    expect(await on(host, "dpkg-query -W -f '${Version}' lsyncd; ls /srv/wrong 2>&1 || true")).toMatch(
      /^99\.0-1.*No such file/,
    );
    await c.completes();
    await on(host, `${apt} install /srv/package/lsyncd_*.deb`);
    await mirrors(host);
    expect(await faultsOf(host)).toBe("");
    await identical(host);
    await row({
      injected: "lsyncd upgraded to a package with its own configuration file, without a terminal for dpkg's question",
      happened:
        "the deployment's file stayed, and lsyncd went on mirroring; a deployment was refused until the package was configured",
      lost: await c.lost(),
    });
  });
});

describe("systemctl daemon-reload in the middle of a deployment", () => {
  it("starts nothing from a mix of new and old files", async () => {
    const { host } = c.d;
    await c.hangInSwaps();
    const { up } = await c.halfWay();
    await on(host, "systemctl daemon-reload && systemctl restart lsyncd");
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    expect(await processes(host)).toBe("");
    expect(await on(host, "systemctl status lsyncd --no-pager || true")).toContain(
      "a deployment was interrupted half-way",
    );
    await on(host, "rm -f /run/hang; pkill -9 -f '[s]leep 1000'");
    succeeded(await up);
    expect(await faultsOf(host)).toBe("");
    await mirrors(host);
    await identical(host);
    await row({
      injected: "systemctl daemon-reload, and a restart of lsyncd, in the middle of the swap",
      happened: "lsyncd waited for the deployment's end, then ran the new one",
      lost: await c.lost(),
    });
  });
});

describe("the state directory", () => {
  it.each([
    ["full", full(state), /^ok +log /m, "mirrored, at the latest when space was free again"],
    [
      "read-only",
      // Made read-only before it is mounted at its place: a later change of the mount would not reach lsyncd's private mounts.
      `mkdir -p /run/read-only && mount --bind ${state} /run/read-only && mount --make-private /run/read-only && mount -o remount,bind,ro /run/read-only &&
       mount --bind /run/read-only ${state} && umount /run/read-only`,
      /^PROBLEM +monitor +\S+ cannot be written[^]*^PROBLEM +log .* Retrying a list/m,
      "lsyncd kept retrying, which the monitor reported; mirrored once the directory was writable again",
    ],
  ])(
    "%s does not stop mirroring for good: changes made meanwhile are mirrored afterwards at the latest",
    async (what, how, reported, happened) => {
      const { host } = c.d;
      const database = `${host.source}/mail/${what}.sqlite`;
      await on(host, `sqlite3 '${database}' 'create table t (n); insert into t values (1)'`);
      await identical(host);
      await on(host, how);
      await on(host, `echo meanwhile >'${host.source}/mail/${what}'; sqlite3 '${database}' 'insert into t values (2)'`);
      await new Promise((resolve) => setTimeout(resolve, 15_000));
      expect((await attempt(host, "lsyncd-monitor.sh")).output).toMatch(reported);
      await on(host, `umount ${state}`);
      await mirrors(host);
      await eventually(
        async () => (await on(host, `sqlite3 '${host.target}/mail/${what}.sqlite' 'select max(n) from t'`)) === "2",
        90,
      );
      await identical(host);
      await row({
        injected: `The state directory ${what} while a file and a database change`,
        happened,
        lost: await c.lost(),
      });
    },
  );
});

describe("inotify watches used up", () => {
  it("ends lsyncd with an alert instead of mirroring only a part; it mirrors everything once there are enough", async () => {
    const { host } = c.d;
    // This kernel limit exists per user namespace, so a host can lower it for lsyncd alone.
    await on(
      host,
      `mkdir -p /run/limits /usr/lib/real /etc/systemd/system/lsyncd.service.d && mount --bind /proc/sys/user /run/limits && mount -o remount,bind,rw /run/limits
       systemctl stop lsyncd; mv /usr/bin/lsyncd /usr/lib/real/lsyncd
       printf '#!/bin/sh\\nexec unshare --map-root-user sh -c "echo 10 >/run/limits/max_inotify_watches && exec /usr/lib/real/lsyncd \\"\\$@\\"" sh "$@"\\n' >/usr/bin/lsyncd && chmod +x /usr/bin/lsyncd
       printf '[Service]\\nRestrictNamespaces=no\\n' >/etc/systemd/system/lsyncd.service.d/zz-test.conf && systemctl daemon-reload
       mkdir -p ${host.source}/many/{1..30} && echo deep >${host.source}/many/30/file`,
    );
    const before = await content(host, host.target);
    // No alert was sent recently, so that this one is.
    await on(host, `rm -rf ${state}/alerts; systemctl start lsyncd`);
    await eventually(
      async () => (await on(host, "journalctl -u lsyncd -n 50 --no-pager -o cat")).includes("out of inotify watches"),
      60,
    );
    await eventually(async () => (await attempt(host, `ls ${state}/alerts/spool/*-failed.eml`)).code === 0);
    expect((await on(host, `cat ${state}/alerts/spool/*-failed.eml`)).replaceAll("=\n", "")).toContain(
      "out of inotify watches",
    );
    expect(await content(host, host.target)).toBe(before);
    await on(
      host,
      "rm /etc/systemd/system/lsyncd.service.d/zz-test.conf && systemctl daemon-reload && mv /usr/lib/real/lsyncd /usr/bin/lsyncd",
    );
    await mirrors(host);
    await identical(host);
    await row({
      injected: "The kernel's inotify watches used up",
      happened:
        "lsyncd was restarted every 10 s, which was reported; everything was mirrored once there were enough watches",
      lost: await c.lost(),
    });
  });
});
