import { join } from "node:path";
import { library } from "./host-settings";
import { PretendedVolumes, type Said } from "./failover";

/** A command of lsyncd-failover to kill, and the condition that must hold afterwards. */
export interface Path {
  /** The command line. */
  args: string[];
  /** Shell text that prepares the machine for the command, after a failover has begun and the mirror was changed. */
  before: string;
  /** The side whose files must survive: its files are recorded before the command and looked for afterwards. */
  inUse: "source" | "target";
}

const begun = `"$failover" begin; echo new >target/a; mkdir target/mail; for n in $(seq 40); do echo "mail $n" >target/mail/$n; done; rm target/b`;
const half = `${begun}; printf '#!/bin/bash\\ncp -a target/mail source/; exit 20\\n' >bin/rsync; chmod +x bin/rsync
  "$failover" end --keep target || true; rm bin/rsync`;

/** Every path through the states. */
export const paths: Path[] = [
  { args: ["begin", "a", "reason"], before: "", inUse: "source" },
  { args: ["end", "--keep", "target"], before: begun, inUse: "target" },
  { args: ["end", "--keep", "target"], before: half, inUse: "target" },
  { args: ["end", "--keep", "source"], before: begun, inUse: "source" },
  { args: ["abandon", "--give-up", "source"], before: half, inUse: "target" },
  {
    args: ["end", "--reverse"],
    before: `${begun}; mkdir elsewhere; mount --bind target elsewhere; umount source target; mount --bind elsewhere source
      umount elsewhere; mount -t tmpfs -o size=64m volume-three target`,
    inUse: "source",
  },
];

const counted =
  "blkid cat chmod cut date df find flock grep head id mkdir mountpoint mv numfmt paste perl rm rsync sed seq sync tail timeout";

/** Puts a counter in front of each program that lsyncd-failover runs, to kill lsyncd-failover before or after the n-th. */
async function arm(host: PretendedVolumes): Promise<void> {
  await host.shell(`
    mv bin/systemctl bin/systemctl.real; mv bin/pgrep bin/pgrep.real
    for name in ${counted} systemctl pgrep; do
      real=bin/$name.real; [ -e $real ] || real=$(command -v $name)
      [ "\${real#/}" != "$real" ] || real=$PWD/$real
      cat >bin/$name <<END
#!/bin/bash
exec {lock}>>'$PWD/count.lock'; /usr/bin/flock \\$lock
read -r n <'$PWD/count'; n=\\$((n + 1)); echo \\$n >'$PWD/count'
exec {lock}>&-
read -r _ _ _ _ _ session _ </proc/self/stat
[ \\$n != "\\$KILL_BEFORE" ] || { kill -9 -- -\\$session; kill -9 0; }
'$real' "\\$@"
code=\\$?
[ \\$n != "\\$KILL_AFTER" ] || { kill -9 -- -\\$session; kill -9 0; }
exit \\$code
END
      chmod +x bin/$name
    done`);
}

const disarm = (host: PretendedVolumes) =>
  host.shell(`mv bin/systemctl.real bin/systemctl; mv bin/pgrep.real bin/pgrep; cd bin; rm -f ${counted}`);

/** The number of programs that the command runs when nothing kills it. */
export async function stepsOf(path: Path): Promise<number> {
  const { steps } = await killedAt(path, 0, "before");
  return steps;
}

/** A boot after the kill: lsyncd runs unless something prevents it, and makes the target equal to the source. */
const boot = (host: PretendedVolumes, forget: boolean) =>
  host.shell(`${forget ? "rm -f state/failover" : ""}
    if [ ! -e state/failover ] && LSYNCD_SETTINGS=settings '${join(library, "lsyncd-guard")}' 2>/dev/null; then
      rsync -a --delete source/ target/
    fi`);

const contents = async (host: PretendedVolumes, side: string): Promise<string[]> =>
  (await host.shell(`cd ${side} && find . -type f -exec sha256sum {} +`)).split("\n").filter((line) => line !== "");

/**
 * Kills a command of lsyncd-failover before or after the n-th program it runs, boots, with a root disk that is as it was
 * or with one that has forgotten the failover, tries what would lose data, and then completes it. Throws when a file of
 * the side in use is on neither volume at any of these moments. Step 0 is never reached: nothing is killed.
 */
export async function killedAt(
  path: Path,
  step: number,
  moment: "before" | "after",
): Promise<{ steps: number; said: Said }> {
  const host = await PretendedVolumes.make();
  try {
    await host.shell(`echo old >source/a; echo same >source/b; cp -a source/. target/
      failover='${join(library, "lsyncd-failover")}'; export LSYNCD_SETTINGS=settings PATH="$PWD/bin:$PATH"
      { ${path.before || ":"}; } >/dev/null 2>&1`);
    const precious = await contents(host, path.inUse);
    if (precious.length === 0) throw new Error("nothing to lose");
    const whole = async (when: string) => {
      const found = new Set([...(await contents(host, "source")), ...(await contents(host, "target"))]);
      const lost = precious.filter((line) => !found.has(line));
      if (lost.length > 0) throw new Error(`lost ${when}: ${lost.slice(0, 3).join("; ")}`);
    };

    await arm(host);
    await host.shell("echo 0 >count");
    const said = await host.failover(path.args, [], {
      KILL_BEFORE: moment === "before" ? String(step) : "",
      KILL_AFTER: moment === "after" ? String(step) : "",
    });
    const steps = Number(await host.read("count"));
    await disarm(host);
    // A running rsync continues for a moment; the lock shows when it has ended.
    await host.shell("flock -w 20 run/locks/failover true 2>/dev/null || true");
    await whole("when it was killed");

    const forgetful = step % 2 === 1;
    const begins = path.args[0] === "begin";
    if (!begins) {
      await boot(host, forgetful);
      await whole("after a boot");
    }
    const { root, source, target } = await host.records();
    const restoring = [root, source, target].includes("restoring");
    if (restoring) {
      for (const wrong of [["end", "--keep", "source"], ["end", "--reverse"], ["begin"]]) {
        const { code, text } = await host.failover(wrong);
        if (code !== 1) throw new Error(`${wrong.join(" ")} after an interrupted restore: ${text}`);
      }
      await whole("after what is refused");
    }
    if (said.code !== 0 && !(root === "mirroring" && source === "mirroring" && target === "mirroring")) {
      const again = await host.failover(path.args);
      const abandoned = path.args[0] === "abandon" && again.code === 1 && again.text.includes("No restore has begun");
      if (again.code !== 0 && !abandoned) throw new Error(`it cannot be completed: ${again.text}`);
      await whole("after it was completed");
    }
    if (!begins && path.args[0] === "end") {
      await boot(host, false);
      await whole("after lsyncd has mirrored");
    }
    return { steps, said };
  } finally {
    await host.remove();
  }
}
