import { execOn } from "../../tools/sandbox";
import { unlock } from "../../tools/sandbox/vm/host";
import { vmSandboxDown, vmSandboxUp } from "../../tools/sandbox/vm/sandbox";
import { vmVolumes } from "../../tools/sandbox/vm/types";
import { isRoot } from "../../toolchain/privilege";
import { isOnPath } from "../../toolchain/programs";
import { cutVolumes, openVolumes } from "../support/vm";

// A virtual machine boots, its LUKS volumes are opened, and a power cut of its disks loses what was not synced: what the long tests
// with power cuts rely on. Emulated where KVM does not work, so one boot and no deployment.

const name = `smoke-${String(process.pid)}`;

/** Why no virtual machine can run here; empty if one can. */
function reason(): string | undefined {
  if (process.arch !== "x64") return `its image is for x86-64, and this machine is ${process.arch}`;
  if (!isOnPath("qemu-system-x86_64") && !(isOnPath("apt-get") && (isRoot() || isOnPath("sudo"))))
    return "there is no qemu-system-x86_64, and it cannot be installed here";
  return undefined;
}

const why = reason();

describe("a virtual machine", () => {
  afterAll(async () => {
    await vmSandboxDown(name);
  }, 60_000);

  (why === undefined ? it : it.skip)(
    `has LUKS volumes, and a power cut loses what was not synced${why === undefined ? "" : ` (not run: ${why})`}`,
    async () => {
      const [host] = await vmSandboxUp({ name, owner: process.pid });
      if (!host) throw new Error("the sandbox has no machine");
      const on = async (command: string): Promise<string> => (await execOn(host, command)).stdout.trimEnd();
      expect(await on("findmnt -no SOURCE,FSTYPE /mnt/storage_do_1; findmnt -no SOURCE,FSTYPE /mnt/storage_do_2")).toBe(
        Object.values(vmVolumes)
          .map(({ mapper }) => `/dev/mapper/${mapper} ext4`)
          .join("\n"),
      );
      // A login takes an emulated machine a second: commands share one.
      expect(await on("echo $SSH_CONNECTION")).toBe(await on("echo $SSH_CONNECTION"));
      await on("cd /mnt/storage_do_1 && echo kept >synced && sync && echo lost >unsynced");
      await cutVolumes({ host, on }, "drop", 1, []);
      expect(await on("ls -A /mnt/storage_do_1")).toBe("");
      await openVolumes({ on });
      await unlock(host, "source");
      expect(await on("cd /mnt/storage_do_1 && ls | grep -v lost+found; cat synced")).toBe("synced\nkept");
    },
    // Two minutes on a quiet machine; the first time the image is built.
    15 * 60_000,
  );
});
