import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "../../toolchain/run";

/** A unit file or drop-in as installed on a host. */
export interface UnitFile {
  /** Where it is on the host, below /etc/systemd/system. */
  path: string;
  content: string;
}

const system = "/etc/systemd/system/";

/**
 * Has systemd verify the units of many hosts in one go and returns what it finds. Our own programs may be
 * missing; every other warning is a fault.
 */
export async function verifyUnits(hosts: readonly (readonly UnitFile[])[]): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-units-"));
  try {
    const units: string[] = [];
    for (const [index, files] of hosts.entries()) {
      // Units of the same name in one run would be one unit: each host's get a prefix of their own.
      const own = (name: string): string => join(folder, name.replace(/^/, `host${index}-`));
      for (const { path, content } of files) {
        const name = path.slice(system.length);
        await put(own(name), content);
        const unit = name.replace(/\.d\/.*$/, "");
        // The unit that a drop-in extends: on a host, systemd generates it from an init script.
        if (unit !== name) await put(own(unit), "[Service]\nExecStart=/bin/true\n");
        units.push(own(unit));
      }
    }
    const { code, stdout, stderr } = await run("systemd-analyze", ["verify", "--man=no", ...units], {
      allowFailure: true,
    });
    const said = `${stdout}${stderr}`.split("\n").filter((line) => line !== "");
    const ours = said.filter((line) => line.includes(folder) || /\bhost\d+-/.test(line));
    const faults = ours.filter((line) => !/Command \/usr\/local\/\S+ is not executable: No such file/.test(line));
    // It fails for our programs, too, which are not here; a failure without a word about our units is one of its own.
    if (code !== 0 && ours.length === 0) return said;
    return faults.map((line) => line.replaceAll(`${folder}/`, ""));
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function put(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
}
