import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { spawn } from "node:child_process";
import { cacheDir } from "../paths";
import { writeJson } from "../state";
import type { Log } from "../types";

/** How a virtual machine's processor is provided: by this machine's own (KVM), or by emulation. */
export type Acceleration = "kvm" | "tcg";

/** Time limit for a kernel under KVM to start its first program, in milliseconds; it takes two or three seconds where KVM works. */
const probeMs = 20_000;

/** The kernel's message when it starts its first program. */
const started = "Run /init as init process";

/** The arguments of QEMU that choose it. */
export const accelerationArguments = (acceleration: Acceleration): string[] =>
  acceleration === "kvm"
    ? ["-accel", "kvm", "-cpu", "host"]
    : ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"];

/**
 * The parameters of the machine's kernel for it. If a program has other addresses at each start, the emulation translates its code anew,
 * which is nearly half of all its work.
 */
export const accelerationParameters = (acceleration: Acceleration): string[] =>
  acceleration === "kvm" ? [] : ["norandmaps"];

/**
 * KVM where a kernel boots under it, emulation elsewhere: /dev/kvm may exist, and a guest may still stop in its first steps. Tried once for
 * each kernel of this machine and each image, with only the image's kernel; the cache stores the result.
 */
export async function chooseAcceleration(image: string, log: Log): Promise<Acceleration> {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
  } catch {
    return "tcg";
  }
  const file = join(cacheDir(), "kvm.json");
  const tried = `${release()} ${image}`;
  const known = existsSync(file)
    ? (JSON.parse(readFileSync(file, "utf8")) as { tried: string; works: boolean })
    : undefined;
  if (known?.tried === tried) return known.works ? "kvm" : "tcg";
  log("Trying whether a virtual machine boots under KVM here (20 s at most)");
  const works = await bootsUnderKvm(image);
  log(works ? "It does" : "It does not: virtual machines are emulated");
  writeJson(file, { tried, works });
  return works ? "kvm" : "tcg";
}

async function bootsUnderKvm(image: string): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), "lsyncd-as-code-kvm-"));
  const console = join(folder, "console.log");
  const child = spawn(
    "qemu-system-x86_64",
    [
      ...accelerationArguments("kvm"),
      ...["-m", "512", "-nographic", "-nodefaults", "-no-reboot", "-serial", `file:${console}`],
      ...["-kernel", join(image, "vmlinuz"), "-initrd", join(image, "initrd"), "-append", "console=ttyS0"],
    ],
    { stdio: "ignore" },
  );
  child.on("error", () => undefined);
  const deadline = Date.now() + probeMs;
  const boots = (): boolean => existsSync(console) && readFileSync(console, "utf8").includes(started);
  try {
    while (Date.now() < deadline && child.pid !== undefined && child.exitCode === null && !boots()) await sleep(100);
    return boots();
  } finally {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}
