import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../toolchain/run";
import { library, writeSettings } from "./host-settings";

/** The result of lsyncd-failover: its exit code and its output. */
export interface Said {
  code: number;
  text: string;
}

/**
 * A machine for lsyncd-failover that is nothing but a folder: two file systems of their own, a root disk (`state`), and
 * other programs in the place of systemd and of lsyncd. It needs root, for file systems that keep records.
 */
export class PretendedVolumes {
  private constructor(
    readonly folder: string,
    private readonly env: NodeJS.ProcessEnv,
  ) {}

  static async make(): Promise<PretendedVolumes> {
    const folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-failover-"));
    const settings = {
      source: join(folder, "source"),
      target: join(folder, "target"),
      state_directory: join(folder, "state"),
      run_directory: join(folder, "run"),
      failover_file: join(folder, "state/failover"),
      allow_file: join(folder, "state/allow-deletion"),
      accept_file: join(folder, "state/accept-source"),
      held_file: join(folder, "state/held"),
      entries_file: join(folder, "state/entries"),
    };
    const env = await writeSettings(join(folder, "settings"), settings);
    const machine = new PretendedVolumes(folder, { ...env, PATH: `${join(folder, "bin")}:${env.PATH ?? ""}` });
    await machine.shell(`
      mkdir source target state run bin
      mount -t tmpfs -o size=64m volume-one source; mount -t tmpfs -o size=64m volume-two target
      printf 'source\\ttmpfs:volume-one\\ntarget\\ttmpfs:volume-two\\n' >state/volumes
      cat >bin/systemctl <<'END'
#!/bin/bash
cd "\${0%/*}/.."
echo "$*" >>systemctl.log
case "$*" in *restart*) echo active >lsyncd ;; stop*) echo inactive >lsyncd ;; is-active*) cat lsyncd ;; esac
END
      printf '#!/bin/bash\\nexit 1\\n' >bin/pgrep; chmod +x bin/*; echo active >lsyncd`);
    return machine;
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  /** Runs shell text in the folder; fails when it does. */
  async shell(text: string): Promise<string> {
    return (await run("bash", ["-ec", `cd '${this.folder}'\n${text}`])).stdout;
  }

  read(name: string): Promise<string> {
    return readFile(this.at(name), "utf8").catch(() => "");
  }

  /** Calls lsyncd-failover, with a program and its arguments in front of it. */
  async failover(args: string[], before: string[] = [], env: Record<string, string> = {}): Promise<Said> {
    const program = join(library, "lsyncd-failover");
    const [command = program, ...rest] = [...before, program, ...args];
    const { code, stdout, stderr } = await run(command, rest, {
      allowFailure: true,
      env: { ...this.env, ...this.otherRsync(), ...env },
      // In its own process group, so that the group can be killed.
      detached: true,
    });
    return { code, text: stdout + stderr };
  }

  /** A program of the folder takes the place of rsync too. */
  private otherRsync(): Record<string, string> {
    return existsSync(this.at("bin/rsync")) ? { LSYNCD_RSYNC: this.at("bin/rsync") } : {};
  }

  /** The state as recorded in each place. */
  async records(): Promise<{ root: string; source: string; target: string }> {
    const lines = (
      await this.shell(`source '${library}/failover.sh'
        root_state state/failover; volume_state "$PWD/source"; volume_state "$PWD/target"`)
    )
      .trim()
      .split("\n");
    const [root = "", source = "", target = ""] = lines;
    return { root, source, target };
  }

  async remove(): Promise<void> {
    await this.shell(`for at in source target elsewhere; do while mountpoint -q $at; do umount --lazy $at; done; done`);
    await rm(this.folder, { recursive: true, force: true });
  }
}
