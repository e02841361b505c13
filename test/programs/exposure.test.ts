import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { renderFiles } from "../../infra/files";
import { run } from "../../toolchain/run";
import { installTime, needPrograms } from "../support/programs";
import { hostOf } from "../unit/support/settings";

// systemd's rating of how much of the machine a compromised service could reach, from 0 to 10. On a real kernel: vm-host.

const most = 4;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "lsyncd-as-code-exposure-"));
  await needPrograms("systemd-analyze");
}, installTime);
afterAll(() => {
  rmSync(folder, { recursive: true });
});

it.each([
  ["lsyncd.service", "/etc/systemd/system/lsyncd.service.d/override.conf"],
  ["lsyncd-monitor.service", "/etc/systemd/system/lsyncd-monitor.service"],
])("%s is confined", async (unit, path) => {
  const text = renderFiles(hostOf()).find((file) => file.path === path)?.content ?? "";
  writeFileSync(join(folder, unit), text);
  const { stdout } = await run("systemd-analyze", ["security", "--offline=true", "--no-pager", join(folder, unit)]);
  const exposure = Number(/Overall exposure level for \S+ (\d+\.\d)/.exec(stdout)?.[1]);
  expect(exposure).toBeLessThan(most);
});
