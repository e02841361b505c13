import { boot, mount, powerOff, setAtBoot, type VolumeName } from "../../tools/sandbox";
import { eventually, on, type Deployment } from "./deployment";
import { attempt, files, identical, mirrors, missingFrom, row, stopped, under } from "./faults";

// Tests of faults that both volumes can have.

/** The host boots without a volume, which is mounted later: nothing is mirrored until it is, then lsyncd runs by itself. */
export async function lockedAtBoot(d: Deployment, role: VolumeName): Promise<void> {
  const { host } = d;
  const before = await files(host, host.target);
  await powerOff(host);
  await setAtBoot(host, role, "locked");
  await boot(host);
  // Long enough for several attempts.
  await new Promise((resolve) => setTimeout(resolve, 7_000));
  expect(await stopped(host, 1)).toBeLessThan(1);
  expect(await under(host, role)).toBe("");
  const start = await attempt(host, "systemctl start lsyncd");
  expect(start.code).toBe(0);
  expect(start.seconds).toBeLessThan(5);
  expect(await on(host, "systemctl status lsyncd --no-pager || true")).toContain(
    `waiting: the ${role} volume is not mounted at ${host[role]}`,
  );
  await mount(host, role);
  expect(missingFrom(await files(host, host.target), before)).toBe(0);
  const after = await mirrors(host);
  await identical(host);
  await setAtBoot(host, role, "auto");
  await row({
    injected: `Host booted with the ${role} volume locked; unlocked and mounted later`,
    happened: `lsyncd did not run before; it mirrored ${after} s after the mount`,
    lost: missingFrom(await files(host, host.target), await files(host, host.source)),
  });
}

/** A volume is unmounted while lsyncd runs: it stops within seconds, and runs again when the volume is back. */
export async function unmountedWhileRunning(d: Deployment, role: VolumeName): Promise<void> {
  const { host } = d;
  await on(host, `echo just before >${host.source}/mail/last; rm -f ${host.source}/mail/a/1.eml`);
  const before = await files(host, role === "source" ? host.target : host.source);
  await eventually(async () => (await attempt(host, `umount ${host[role]}`)).code === 0, 20);
  const ended = await stopped(host);
  expect(ended).toBeLessThan(8);
  expect(await under(host, role)).toBe("");
  // Nothing that was in the mirror before was deleted; at most, the last changes arrived.
  if (role === "source") {
    const now = await files(host, host.target);
    before.delete("./mail/a/1.eml");
    expect(missingFrom(now, before)).toBe(0);
  } else await on(host, `echo meanwhile >${host.source}/mail/meanwhile; rm ${host.source}/mail/b/2.eml`);
  // Longer than the pause before a restart.
  await new Promise((resolve) => setTimeout(resolve, 12_000));
  expect(await stopped(host, 1)).toBeLessThan(1);
  expect(await under(host, role)).toBe("");
  await mount(host, role);
  const after = await mirrors(host);
  await identical(host);
  await row({
    injected: `The ${role} volume unmounted while lsyncd runs, right after changes; mounted again later`,
    happened: `lsyncd ended within ${ended} s; mirrored again ${after} s after the mount`,
    lost: missingFrom(await files(host, host.target), await files(host, host.source)),
  });
}
