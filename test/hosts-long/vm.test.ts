import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execOn } from "../../tools/sandbox";
import { cutPower } from "../../tools/sandbox/vm/process";
import { vmSandboxDown, vmSandboxUp } from "../../tools/sandbox/vm/sandbox";
import type { VmHost } from "../../tools/sandbox/vm/types";
import { Stack } from "../../tools/stack";
import { eventually, succeeded } from "../support/deployment";

// A kernel of its own, LUKS, and a power cut that loses what was not flushed: what a container cannot have. Emulated, so slow.

const minutes = 60_000;
const name = `vm-${String(process.pid)}`;
const log = (line: string): void => {
  process.stderr.write(`vm: ${line}\n`);
};

let directory: string;
let host: VmHost;

const on = async (command: string): Promise<string> =>
  (await execOn(host, command, { timeoutMs: 3 * minutes })).stdout.trim();

const up = async (): Promise<void> => {
  const [first] = await vmSandboxUp({ name, owner: process.pid, log });
  if (!first) throw new Error("the sandbox has no machine");
  host = first;
};

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "lsyncd-as-code-vm-"));
  await up();
}, 15 * minutes);

afterAll(async () => {
  await vmSandboxDown(name);
  rmSync(directory, { recursive: true, force: true });
}, minutes);

it(
  "a deployment to encrypted volumes mirrors them, also after a power cut",
  async () => {
    expect(await on("findmnt -no SOURCE /mnt/storage_do_1; findmnt -no SOURCE /mnt/storage_do_2")).toBe(
      "/dev/mapper/nvme1n1\n/dev/mapper/nvme2n1",
    );
    const stack = await new Stack({ name, directory }).init();
    await stack.configure([host], { requireEncryption: true });
    succeeded(await stack.up());
    await on("echo before >/mnt/storage_do_1/before");
    await eventually(async () => (await on("cat /mnt/storage_do_2/before")) === "before", 60);

    await on("cd /mnt/storage_do_1 && echo kept >synced && sync && echo lost >unsynced");
    await cutPower(host, "drop", 1);
    await up();
    expect(await on("cd /mnt/storage_do_1 && ls | grep -v lost+found")).toBe("before\nsynced");
    // It starts by itself once both volumes are there.
    await eventually(async () => (await on("cat /mnt/storage_do_2/synced")) === "kept", 180);
    expect(await on("diff -r -x lost+found /mnt/storage_do_1 /mnt/storage_do_2")).toBe("");
  },
  20 * minutes,
);
