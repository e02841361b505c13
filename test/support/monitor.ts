import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { renderFiles } from "../../infra/files";
import { libDirectory } from "../../infra/paths";
import { conf } from "../../infra/quote";
import { run } from "../../toolchain/run";
import { hostOf } from "../unit/support/settings";

/** The programs of a host, as they are in the repository. */
export const library = resolve(__dirname, "../../templates", libDirectory.slice(1));

/** One finding that a check printed. */
export interface Finding {
  verdict: string;
  /** The key under which the problem is remembered. */
  key: string;
  text: string;
}

/** The result of a check: its findings, and the values to remember. */
export interface CheckRun {
  findings: Finding[];
  remembered: Record<string, string>;
  /** Its measured values. */
  values: Record<string, string>;
  stderr: string;
}

/** The settings files of a host with other values: `{ mirror: { source: "/tmp/x" } }`. Throws for an unknown setting. */
export function settingsFiles(changes: Record<string, Record<string, string | string[]>>): Record<string, string> {
  const rendered = new Map(renderFiles(hostOf()).map(({ path, content }) => [path, content]));
  return Object.fromEntries(
    ["mirror", "limits", "alerts"].map((name) => {
      let text = rendered.get(`/etc/lsyncd/${name}.conf`) ?? "";
      for (const [key, value] of Object.entries(changes[name] ?? {})) {
        const line = new RegExp(`^${key} = .*\\n`, "gm");
        if (!line.test(text) && !Array.isArray(value)) throw new Error(`${name}.conf has no setting ${key}`);
        text =
          text.replaceAll(line, "") +
          [value]
            .flat()
            .map((one) => `${key} = ${conf(one)}\n`)
            .join("");
      }
      return [`${name}.conf`, text];
    }),
  );
}

/** A simulated host in one folder: two volumes, a log, a state. Its checks run on this machine. */
export class PretendedHost {
  private constructor(readonly folder: string) {}

  static async make(): Promise<PretendedHost> {
    const host = new PretendedHost(await mkdtemp(join(tmpdir(), "lsyncd-as-code-monitor-")));
    for (const name of ["source", "target", "state/alerts", "state/sqlite", "run/alerts", "settings", "work"])
      await mkdir(host.at(name), { recursive: true });
    const shared = {
      source: host.at("source"),
      target: host.at("target"),
      log_file: host.at("lsyncd.log"),
      status_file: host.at("lsyncd.status"),
      failover_file: host.at("state/failover"),
      state_directory: host.at("state"),
      run_directory: host.at("run"),
    };
    await host.write(
      Object.fromEntries(
        Object.entries(
          settingsFiles({
            alerts: shared,
            mirror: {
              ...shared,
              config_file: host.at("lsyncd.conf.lua"),
              sqlite_state_directory: host.at("state/sqlite"),
              monitor_ran_file: host.at("run/alerts/ran"),
              guard: host.at("guard"),
              held_file: host.at("state/held"),
              resync_file: host.at("run/resync"),
              pass_prefix: host.at("run/pass."),
            },
          }),
        ).map(([name, text]) => [`settings/${name}`, text]),
      ),
    );
    return host;
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  async write(files: Record<string, string>): Promise<void> {
    for (const [name, text] of Object.entries(files)) await writeFile(this.at(name), text, { mode: 0o755 });
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Runs a script after the monitor's library; `$folder` is the host's. Returns its output. */
  async bash(
    script: string,
    env: Record<string, string> = {},
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const begin = `set -uo pipefail
      folder=${this.folder} backlog_limit=100 disk_limit=90 watch_limit=90 memory_limit=90 restart_limit=5 stale_limit=300
      library=${library}; source $library/whole.sh && source $parts/monitor.sh || exit
      work=$folder/work state=$folder/state/alerts state_kept=1 volumes_outcome=fine`;
    return run("bash", ["-c", `${begin}\n${script}`], {
      env: { ...process.env, LSYNCD_SETTINGS: this.at("settings"), ...env },
      allowFailure: true,
    });
  }

  /**
   * Runs one check after `before`, which may replace programs that it calls (`systemctl() { echo active; }`). Keeps the values that it
   * remembers for the next.
   */
  async check(name: string, before = "", env: Record<string, string> = {}): Promise<CheckRun> {
    const { stdout, stderr } = await this.bash(
      `rm -rf "$work"; mkdir -p "$work/remember"; : >"$work/unit.out"
      source ${library}/checks/${name}.sh
      # As if it had booted ten days ago.
      eval "real_$(declare -f ticks)"
      ticks() { printf %s "$(($(real_ticks) + 86400000))"; }
      ${before}
      check_${name}
      kill -KILL $(jobs -p) 2>/dev/null
      cd "$work/remember" && for file in *; do [[ -e $file ]] && cp "$file" "$state/"; done`,
      env,
    );
    const lines = stdout.split("\n").filter((line) => line !== "");
    const values = Object.fromEntries(
      lines.flatMap((line) => (line.startsWith("value\t") ? [line.split("\t").slice(1) as [string, string]] : [])),
    );
    const findings = lines
      .filter((line) => !line.startsWith("value\t"))
      .map((line) => {
        const [verdict = "", key = "", text = "", ...more] = line.split("\t");
        if (more.length > 0) throw new Error(`more than three fields: ${line}`);
        return { verdict, key, text };
      });
    const { stdout: listed } = await run("ls", [this.at("work/remember")], { allowFailure: true });
    const names = listed.split("\n").filter((one) => one !== "");
    const texts = await Promise.all(names.map((one) => readFile(this.at(`work/remember/${one}`), "utf8")));
    return {
      findings,
      values,
      remembered: Object.fromEntries(names.map((one, index) => [one, texts[index] ?? ""])),
      stderr,
    };
  }
}
