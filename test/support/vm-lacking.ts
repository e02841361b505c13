import { paths } from "../../infra/paths";
import type { Finished } from "../../toolchain/run";
import { faultsOf, installed } from "./activation";
import { prepareVm, type VmDeployment } from "./vm";

export const source = "/mnt/storage_do_1";
export const target = "/mnt/storage_do_2";

type Installed = [string, string];

/** A mirror on a virtual machine that lacks something during a deployment. */
export interface Lacking {
  d: VmDeployment;
  /** The kernel and the file systems, for a row of docs/reliability.md. */
  where: string;
  /** How long an undisturbed deployment takes, in milliseconds. */
  lasts: number;
  /**
   * Sets another deployment than the one in force; files that lsyncd reads are among what it changes. Returns the checksum of the files on
   * the source, and what the host runs: its programs and files, and a setting among them.
   */
  prepared: () => Promise<{ sums: string; old: Installed }>;
  /** Waits for a deployment, and what it left: the old one (of `prepared`) or the new one, whole. Returns a sentence. */
  deployed: (up: Promise<Finished>, old: Installed) => Promise<string>;
  /** With enough of everything again the same deployment succeeds, and nothing is lost. */
  recovers: (sums: string) => Promise<void>;
}

/** Makes it, with volumes that are soon full: 100 MB and 500 inodes. */
export async function prepareLacking(): Promise<Lacking> {
  const d = await prepareVm();
  let delay = 1;
  const small = (mapper: string, mountpoint: string): Promise<string> =>
    d.on(`umount ${mountpoint}; mkfs.ext4 -q -F -m 0 -N 500 /dev/mapper/${mapper} 100M; mount ${mountpoint}`);
  const change = async (): Promise<void> => {
    delay += 1;
    await d.stack.configure([d.host], { requireEncryption: true, delay });
  };
  const mail = (volume: string): Promise<string> => d.on(`cd ${volume}/mail && cat $(ls | sort -n) | sha256sum`);
  const present = async (): Promise<Installed> => [
    await installed(d.host),
    await d.on(`grep -o 'delay *= *[0-9]*' ${paths.configFile}`),
  ];
  const prepared = async (): Promise<{ sums: string; old: Installed }> => {
    const sums = await mail(source);
    await change();
    return { sums, old: await present() };
  };
  const deployed: Lacking["deployed"] = async (up, old) => {
    const { code, stdout, stderr } = await up;
    await d.undone();
    const now = await present();
    if (code === 0) {
      expect(now[1]).not.toBe(old[1]);
      return "it succeeded";
    }
    // Without sshd the deployment cannot say how it ended: the host's step runs to its end, or is undone.
    const lost = `${stdout}${stderr}`.includes("the connection was lost");
    if (lost && now[1] !== old[1]) return "the connection was lost, and the host completed the deployment";
    expect(now).toEqual(old);
    if (lost) return "the connection was lost, and the host ran what it ran before";
    expect(`${stdout}${stderr}`).toMatch(/Nothing was changed on sqlite-1|sqlite-1 runs its previous deployment again/);
    return "it failed, and the host ran what it ran before";
  };
  const recovers = async (sums: string): Promise<void> => {
    await d.until("the deployment succeeds", async () => {
      const { code, stdout } = await d.stack.up();
      if (code !== 0) process.stderr.write(stdout);
      return code === 0;
    });
    expect(await faultsOf(d.host)).toBe("");
    await d.mirrors();
    await d.identical();
    expect([await mail(source), await mail(target)]).toEqual([sums, sums]);
  };
  await small("nvme1n1", source);
  await small("nvme2n1", target);
  await d.on(`mkdir ${source}/mail && for i in $(seq 50); do echo "mail $i" >${source}/mail/$i; done`);
  await d.deploy();
  await d.identical();
  await change();
  const began = Date.now();
  expect((await d.stack.up()).code).toBe(0);
  const lasts = Date.now() - began;
  const where = `kernel ${await d.on("uname -r")}, ext4 on LUKS`;
  return { d, where, lasts, prepared, deployed, recovers };
}
