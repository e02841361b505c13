import type { Finished } from "../../toolchain/run";
import {
  boot,
  cutFileSystem,
  enter,
  execOn,
  newDisk,
  powerCut,
  quote,
  reboot,
  setAtBoot,
  until,
  type Disk,
  type SandboxHost,
} from "../sandbox";
import type { Stack } from "../stack";
import type { Account, Done, Loss } from "./account";
import { committed, inspect, installApplication, sumsAt, type Content } from "./application";
import { readDrillPages, readSteps, type Step, type Way } from "./page";

/** How the primary is lost: its disk fails under the running host, or the host dies with it and comes back without. */
export type Failure = "disk" | "host";

/** Options of a drill. */
export interface DrillOptions {
  /** A host that `stack` is deployed to. */
  host: SandboxHost;
  stack: Stack;
  way: Way;
  failure: Failure;
  /** Seconds from the first commit in the mirror to the failure; at random from 3 to 8 unless set. */
  untilFailure?: number;
  /** Called after each step. */
  log?: (done: Done) => void;
}

const sleep = (seconds: number): Promise<void> => new Promise((done) => setTimeout(done, seconds * 1000));
const now = (): number => Date.now() / 1000;

/** The state of a running drill. */
class Drill {
  readonly steps: Done[] = [];
  /** Outputs that later commands of the page refer to by name. */
  private readonly names = new Map<string, string>();
  private newDisk: Disk | undefined;
  private failedAt = 0;
  private recoverySeconds = 0;
  private stoppedAt: number | undefined;
  private returnSeconds: number | undefined;
  private losses: Loss[] = [];
  /** States of databases that must be found again at the end. */
  private readonly held: Content[] = [];

  constructor(private readonly options: DrillOptions) {}

  async run(): Promise<Account> {
    const { way, log } = this.options;
    for (const step of readSteps(readDrillPages(), way)) {
      const began = now();
      const done = await this.do(step);
      this.steps.push({ ...done, ...(step.kind === "skip" ? {} : { seconds: now() - began }) });
      log?.(this.steps.at(-1) ?? done);
    }
    const { steps, losses, recoverySeconds, returnSeconds } = this;
    return { steps, losses, recoverySeconds, ...(returnSeconds === undefined ? {} : { returnSeconds }) };
  }

  private async do(step: Step): Promise<Done> {
    const { title } = step;
    if (step.kind === "skip") return { title, where: "host", command: step.command, result: `not here: ${title}` };
    if (step.kind === "command") {
      const result = await this.command(step);
      return { title, where: step.where, command: this.translate(step.command), result };
    }
    const event = this.events[title];
    if (!event) throw new Error(`the page names an event that the drill does not know: ${title}`);
    return { title, where: "", command: "", result: await event() };
  }

  // --- the page's commands ------------------------------------------------------------------------------------------

  private async command(step: Step & { kind: "command" }): Promise<string> {
    const finished = step.where === "host" ? await this.onHost(step.command) : await this.onWorkstation(step.command);
    const output = `${finished.stdout}\n${finished.stderr}`.trim();
    const fail = (why: string): never => {
      throw new Error(`${step.title}: ${why} from:\n${step.command}\n${output}`);
    };
    if (!step.accept.includes(finished.code)) fail(`exit code ${String(finished.code)}`);
    const lines = finished.stdout.split("\n").filter((line) => line !== "");
    if (step.prints === "" && output !== "") fail("unexpected output");
    if (step.prints && (lines.length === 0 || lines.some((line) => line !== step.prints)))
      fail(`something else than ${step.prints}`);
    if (step.keep !== undefined) this.names.set(step.keep, lines[0] ?? fail("no output"));
    return lines.length > 0 && new Set(lines).size === 1 && lines.length > 1
      ? `${lines.length} × ${lines[0] ?? ""}`
      : (lines.at(-1) ?? "done");
  }

  /** The page's devices and names are those of the sandbox here. */
  private translate(command: string): string {
    const { host } = this.options;
    const names = new Map([["/dev/mapper/nvme2n1", host.volumes.target.device], ...this.names]);
    if (this.newDisk) names.set("/dev/mapper/nvme1n1", this.newDisk.device);
    return [...names].reduce((text, [name, value]) => text.replaceAll(name, value), command);
  }

  private async onHost(command: string): Promise<Finished> {
    // As an operator who logs in and has sudo.
    const shell = `bash -e -o pipefail -c ${quote(this.translate(command))}`;
    return execOn(this.options.host, shell, { user: "admin", allowFailure: true });
  }

  /** Runs the pages' lines of pulumi on the drill's own stack. */
  private async onWorkstation(command: string): Promise<Finished> {
    let last: Finished = { code: 0, stdout: "", stderr: "" };
    for (const line of this.translate(command).split("\n")) {
      const [, args] = /^npx pulumi (.*)$/.exec(line) ?? [];
      if (args === undefined) throw new Error(`the drill runs nothing but pulumi on the workstation: ${line}`);
      const words = args
        .replace(/--stack \S+ ?/, "")
        .trim()
        .split(" ")
        .map((word) => word.replaceAll("'", ""));
      last = await this.options.stack.pulumi(words[0] === "up" ? [...words, "--yes", "--skip-preview"] : words, {
        allowFailure: true,
      });
      if (last.code !== 0) break;
    }
    return { ...last, stdout: last.stdout.includes("Resources:") ? resources(last.stdout) : last.stdout };
  }

  // --- what happens in between --------------------------------------------------------------------------------------

  private readonly events: Record<string, () => Promise<string>> = {
    "the application writes": async () => {
      await installApplication(this.options.host);
      await this.startApplication();
      await this.caughtUp();
      return "it keeps 6 databases open, and the mirror follows";
    },
    "the primary fails": async () => {
      const wait = this.options.untilFailure ?? 3 + Math.random() * 5;
      await sleep(wait);
      return `${await this.fail()}, after ${wait.toFixed(1)} s under load`;
    },
    "the application is stopped": async () => this.stopApplication(),
    "what the mirror holds": async () => {
      const { host } = this.options;
      const confirmed = await committed(host);
      const contents = await this.sound(host.target);
      this.held.push(...contents);
      this.losses = contents.map(({ path, n, time }) => ({
        path,
        transactions: Math.max(0, (confirmed.get(path)?.n ?? 0) - n),
        seconds: this.failedAt - time,
      }));
      return `${String(contents.length)} databases, each in a state that was committed`;
    },
    "the application is started": async () => {
      await this.startApplication();
      await this.commits();
      this.recoverySeconds = now() - this.failedAt;
      return "it commits on the mirror";
    },
    "the application runs on the mirror": async () => {
      await sleep(3);
      await this.commits();
      return "for 3 s";
    },
    "the host reboots": async () => {
      await this.stopApplication();
      await reboot(this.options.host);
      await this.startApplication();
      await this.commits();
      return "the application goes on";
    },
    "a new disk is there": async () => {
      this.newDisk = await newDisk(this.options.host, 512);
      return this.newDisk.device;
    },
    "the application stops for the return": async () => {
      this.stoppedAt = now();
      await this.stopApplication();
      this.held.push(...(await this.sound(this.options.host.target)));
      return "its databases are closed";
    },
    "the application returns": async () => {
      const { host } = this.options;
      await this.same();
      await this.startApplication();
      await this.commits();
      this.returnSeconds = now() - (this.stoppedAt ?? now());
      return `it commits on ${host.source}; all files were equal before`;
    },
    "the mirror has caught up": async () => {
      await this.caughtUp();
      return "it holds what is committed now";
    },
    "nothing of what the mirror held is lost": async () => {
      const { host } = this.options;
      const confirmed = await committed(host);
      await this.stopApplication();
      const final = await this.sound(host.source);
      for (const { path, n } of final)
        if (n < (confirmed.get(path)?.n ?? 0))
          throw new Error(`${path} has ${n} transactions of ${String(confirmed.get(path)?.n)}`);
      for (const { path, n, sum } of this.held) {
        const found = (await sumsAt(host, host.source, new Map([[path, n]]))).get(path);
        if (found !== sum) throw new Error(`${path}: transaction ${n} is not the one that the mirror held`);
      }
      return `${String(this.held.length)} states found again, to the checksum, and every later commit`;
    },
  };

  /** Loses the primary, at once. */
  private async fail(): Promise<string> {
    const { host, failure } = this.options;
    // At its next boot the host does not find the disk.
    await setAtBoot(host, "source", "locked");
    if (failure === "host") {
      this.failedAt = now();
      await powerCut(host);
      await boot(host);
      return "power cut, and the host is back without its primary";
    }
    // Every access fails from then on, and what the file system still held is lost.
    await enter(host, cutFileSystem(host.source).flat());
    this.failedAt = now();
    return "every access to the disk fails";
  }

  private async startApplication(): Promise<void> {
    await execOn(this.options.host, "systemctl restart application");
  }

  private async stopApplication(): Promise<string> {
    await execOn(this.options.host, "systemctl stop application");
    return "it is stopped";
  }

  /** Waits until the application has committed something in each database from now on. */
  private async commits(): Promise<void> {
    const { host } = this.options;
    const from = now();
    await until("the application commits", 30_000, async () =>
      [...(await committed(host)).values()].every(({ time }) => time >= from),
    );
  }

  /** Waits until the mirror has every transaction committed before the call. */
  private async caughtUp(): Promise<void> {
    const { host } = this.options;
    await this.commits();
    const wanted = await committed(host);
    await until("the mirror has caught up", 60_000, async () => {
      // On a copy: SQLite would write beside the mirror's files.
      const copy = "/var/tmp/mirror-copy";
      await execOn(host, `rm -rf ${copy} && mkdir ${copy} && cp -a ${host.target}/. ${copy}`, { allowFailure: true });
      const contents = await inspect(host, copy);
      await execOn(host, `rm -rf ${copy}`);
      return contents.every(({ path, n }) => n >= (wanted.get(path)?.n ?? 0));
    });
  }

  /** The content of the databases of a directory. Throws unless all are in a committed state. */
  private async sound(directory: string): Promise<Content[]> {
    const { host } = this.options;
    const contents = await inspect(host, directory);
    const faults = contents.flatMap(({ path, fault }) => (fault === undefined ? [] : [`${path}: ${fault}`]));
    if (faults.length > 0) throw new Error(`databases in ${directory} are not sound:\n${faults.join("\n")}`);
    return contents;
  }

  /** Throws unless both volumes hold the same files. */
  private async same(): Promise<void> {
    const { host } = this.options;
    const list = (path: string): string =>
      `(cd ${quote(path)} && find . -path ./lost+found -prune -o -type f -print0 | sort -z | xargs -0 -r sha256sum)`;
    await execOn(host, `bash -c ${quote(`diff <${list(host.target)} <${list(host.source)}`)}`);
  }
}

function resources(output: string): string {
  const counts = output.slice(output.indexOf("Resources:")).match(/\d+ (created|updated|deleted|replaced|unchanged)/g);
  return (counts ?? []).join(", ");
}

/**
 * Loses the primary of a sandbox host under load and runs the commands of docs/disaster-recovery.md and docs/replace-the-primary.md.
 * Throws at the first step that fails, and if any data of the mirror is lost.
 */
export async function drill(options: DrillOptions): Promise<Account> {
  return new Drill(options).run();
}
