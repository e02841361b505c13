import { mount, newDisk, reboot, setVolumes, umount } from "../../tools/sandbox";
import { content, eventually, failed, on, prepare, succeeded, type Deployment } from "../support/deployment";
import { attempt, files, fill, identical, mirrors, missingFrom, processes, row, stopped } from "../support/faults";

jest.setTimeout(400_000);

// An operator's actions on a host that neither a returning volume nor a deployment undoes.

let d: Deployment;
const state = () => on(d.host, "systemctl show -p ActiveState --value lsyncd");
const lost = async () => missingFrom(await files(d.host, d.host.target), await files(d.host, d.host.source));

beforeAll(async () => {
  d = await prepare("operator");
  await fill(d.host);
  succeeded(await d.stack.up());
  await identical(d.host);
});
afterAll(async () => {
  await d.remove();
});

describe("lsyncd stopped by an operator", () => {
  it("stays stopped when a volume returns and when a deployment changes it, with a reminder", async () => {
    const { host } = d;
    await on(host, `systemctl stop lsyncd`);
    await umount(host, "source");
    await mount(host, "source");
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect(await state()).toBe("inactive");
    await d.configure({ delay: 2 });
    const text = succeeded(await d.stack.up());
    expect(text).toContain("was stopped by an operator and stays stopped; start it with: systemctl start lsyncd");
    expect(await state()).toBe("inactive");
    expect(succeeded(await d.stack.preview())).toContain("was stopped by an operator and stays stopped");
    await on(host, "systemctl start lsyncd");
    await mirrors(host);
    expect(await on(host, "grep delay /etc/lsyncd/lsyncd.conf.lua")).toContain("= 2,");
  });
});

describe("lsyncd-failover", () => {
  it("leaves the mirror unchanged: after a manual start, a reboot and a deployment", async () => {
    const { host } = d;
    expect((await attempt(host, "lsyncd-failover status")).output).toContain("is a mirror of /mnt/storage_do_1");
    expect(await on(host, "lsyncd-failover begin the primary is broken")).toContain(
      "The mirror /mnt/storage_do_2 can be used now.",
    );
    await on(
      host,
      `echo new mail >${host.target}/written-in-failover; rm ${host.target}/mail/a/1.eml; echo old >${host.source}/mail/b/2.eml`,
    );
    const inUse = await content(host, host.target);
    await on(host, "systemctl start lsyncd || true; systemctl restart lsyncd || true");
    expect((await attempt(host, "timeout 10 lsyncd -nodaemon /etc/lsyncd/lsyncd.conf.lua")).output).toContain(
      "the mirror is in use",
    );
    await reboot(host);
    expect(await processes(host)).toBe("");
    await d.configure({ delay: 1 });
    expect(succeeded(await d.stack.up())).toMatch(
      /The mirror is in use \(since .*, the primary is broken\) and stays untouched/,
    );
    expect(await processes(host)).toBe("");
    expect(await content(host, host.target)).toBe(inUse);
    expect(await on(host, "lsyncd-failover status")).toContain("is in use: since");
    expect((await attempt(host, "lsyncd-failover end")).code).toBe(2);
    expect(await content(host, host.target)).toBe(inUse);
    await row({
      injected: "Failover begun; then a start by hand, a reboot and a deployment",
      happened: "lsyncd did not run, and the mirror in use was not touched",
      lost: 0,
    });
  });

  it("ends by copying the mirror back to the primary", async () => {
    const { host } = d;
    const inUse = await content(host, host.target);
    expect(await on(host, "lsyncd-failover end --keep target")).toContain(
      "mirrors /mnt/storage_do_1 to /mnt/storage_do_2 again",
    );
    expect(await content(host, host.source)).toBe(inUse);
    await mirrors(host);
    await identical(host);
  });
});

describe("a replaced primary", () => {
  it("is refused until it is restored and accepted, then mirrored", async () => {
    const { host } = d;
    const before = await files(host, host.target);
    await on(host, "lsyncd-failover begin");
    const disk = await newDisk(host, 512);
    await setVolumes(host, { source: disk });
    // Empty: the mirror is the only copy. Only the intended command can override this.
    await d.configure({ acceptVolumes: [disk.uuid] });
    const text = failed(await d.stack.up(undefined, { LSYNCD_SKIP_SAFETY: "true" }));
    expect(text).toContain("The source /mnt/storage_do_1 is empty and the mirror is not");
    expect(text).toContain("rsync -avP --sparse /mnt/storage_do_2/ /mnt/storage_do_1/");

    await d.configure({});
    expect(await on(host, "lsyncd-failover end --keep target")).toContain("accept it with lsyncd:acceptVolumes");
    expect(missingFrom(await files(host, host.source), before)).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    expect(await processes(host)).toBe("");
    await d.configure({ delay: 3 });
    const refusal = failed(await d.stack.up());
    expect(refusal).toContain("The source volume is not the one that was deployed");
    expect(refusal).toContain(`lsyncd:acceptVolumes: ["${disk.uuid}"]`);
    await d.configure({ delay: 3, acceptVolumes: [disk.uuid] });
    expect(succeeded(await d.stack.up())).toContain(`Accepting UUID=${disk.uuid} as the source volume`);
    await mirrors(host);
    await identical(host);
    expect(missingFrom(await files(host, host.target), before)).toBeLessThanOrEqual(1); // alive
    await row({
      injected: "The primary replaced by an empty disk, restored from the mirror, accepted",
      happened: "refused while it was empty and until it was accepted; then mirrored",
      lost: await lost(),
    });
  });

  it("that is accepted without any other change is recorded as well", async () => {
    const { host } = d;
    const disk = await newDisk(host, 512);
    await on(
      host,
      `systemctl stop lsyncd; mkdir -p /mnt/new && mount ${disk.device} /mnt/new && cp -a ${host.source}/. /mnt/new/ && umount /mnt/new`,
    );
    await setVolumes(host, { source: disk });
    await on(host, "systemctl start lsyncd");
    await stopped(host, 3);
    await d.configure({ delay: 3, acceptVolumes: [disk.uuid] });
    succeeded(await d.stack.up());
    await mirrors(host);
    await identical(host);
    expect(await on(host, "cat /var/lib/lsyncd-as-code/volumes")).toContain(disk.uuid);
  });
});

describe("a replaced target", () => {
  it("is refused with data on it, and filled when empty", async () => {
    const { host } = d;
    const disk = await newDisk(host, 512);
    await eventually(async () => (await attempt(host, `systemctl stop lsyncd; umount ${host.target}`)).code === 0);
    await on(
      host,
      `mkdir -p /mnt/new && mount ${disk.device} /mnt/new && echo "someone else's" >/mnt/new/data; umount /mnt/new`,
    );
    await setVolumes(host, { target: disk });
    await mount(host, "target");
    await on(host, "systemctl start lsyncd");
    await d.configure({ delay: 4, acceptVolumes: [disk.uuid] });
    expect(failed(await d.stack.up())).toContain("The target /mnt/storage_do_2 holds data (for example data)");
    expect(await on(host, `cat ${host.target}/data`)).toBe("someone else's");
    await on(host, `rm ${host.target}/data`);
    succeeded(await d.stack.up());
    await mirrors(host);
    await identical(host);
    await row({
      injected: "The target replaced by another disk",
      happened: "refused while it held data; filled when it was empty and accepted",
      lost: await lost(),
    });
  });
});

describe("a mirror that becomes the primary", () => {
  it("is recorded by one command, which accepts only an empty volume as the new mirror", async () => {
    const { host } = d;
    const { target } = host.volumes;
    await eventually(async () => (await attempt(host, "lsyncd-failover begin")).code === 0);
    const primary = await content(host, host.target);
    expect((await attempt(host, "lsyncd-failover end --reverse")).output).toContain(
      `is not the mirror that was deployed, UUID=${target.uuid}: nothing was changed`,
    );
    const disk = await newDisk(host, 512);
    await setVolumes(host, { source: target, target: disk });
    await on(host, `echo "someone else's" >${host.target}/data`);
    const refused = await attempt(host, "lsyncd-failover end --reverse");
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.output).toContain(`${host.target} is not empty (for example data). Its content would be lost`);
    expect(failed(await d.stack.preview())).toContain(
      "sudo lsyncd-failover begin && sudo lsyncd-failover end --reverse",
    );
    await on(host, `rm ${host.target}/data`);
    expect(await on(host, "lsyncd-failover end --reverse")).toContain(
      "lsyncd mirrors /mnt/storage_do_1 to /mnt/storage_do_2 again.",
    );
    await mirrors(host);
    await identical(host);
    expect(
      missingFrom(
        await files(host, host.target),
        new Map(primary.split("\n").map((line) => [line.slice(66), line.slice(0, 64)])),
      ),
    ).toBeLessThanOrEqual(1); // alive
    // The deployment finds everything as recorded.
    succeeded(await d.stack.preview());
    await row({
      injected: "The mirror becomes the primary, and an empty disk its mirror (lsyncd-failover end --reverse)",
      happened: "refused while the disk held data; then mirrored the other way",
      lost: await lost(),
    });
  });
});

describe("a deliberately emptied source", () => {
  it("empties its mirror in one run with the flag, although the deployment is the same", async () => {
    const { host, stack } = d;
    await on(host, `rm -rf ${host.source}/*`);
    await eventually(async () => (await attempt(host, "test -e /var/lib/lsyncd-as-code/held")).code === 0);
    expect((await files(host, host.target)).size).toBeGreaterThan(100);
    expect(failed(await stack.preview())).toContain("LSYNCD_EMPTY_SOURCE_ERASES_MIRROR=true npm run up -- --stack ");
    const text = succeeded(await stack.up(undefined, { LSYNCD_EMPTY_SOURCE_ERASES_MIRROR: "true" }));
    expect(text).toContain("Allowed until the next full pass is done.");
    await mirrors(host);
    await identical(host);
  });

  it("empties it also when the run changes the deployment", async () => {
    const { host, stack } = d;
    await fill(host);
    await identical(host);
    await on(host, `rm -rf ${host.source}/*`);
    await eventually(async () => (await attempt(host, "test -e /var/lib/lsyncd-as-code/held")).code === 0);
    await d.configure({ delay: 1 });
    succeeded(await stack.up(undefined, { LSYNCD_EMPTY_SOURCE_ERASES_MIRROR: "true" }));
    await mirrors(host);
    await identical(host);
  });
});
