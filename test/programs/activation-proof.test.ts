import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fragment } from "../../infra/commands/script";
import { run } from "../../toolchain/run";

// The activation's proof that lsyncd mirrors, with other programs in the place of systemd.

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-proof-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const functions = fragment("activate.sh").replace(/\nmain "\$@"\n$/, "\n");

/**
 * Runs the proof with an lsyncd that logs, in this many tenths of a second, the given line, or ends. With `jump` the clock is
 * set by so many seconds after the first look.
 */
async function prove(log: [at: number, line: string][], { endsAt = 1000, jump = 0, proof = 6, rsyncRuns = true } = {}) {
  const script = `STATE='${folder}' HOST=sqlite-1 STAGED=none LOG='${folder}/log'; ${functions}
    PROOF=${proof} PROOF_MOST=${proof} STEADY=2 looks=0; : >"$LOG"
    systemctl() {
      local pid=7
      ((looks < ${endsAt})) || pid=8
      case "$*" in *ActiveState*) printf 'MainPID=%s\\nActiveState=active\\n' "$pid" ;; *) echo "$pid" ;; esac
    }
    pgrep() { ${rsyncRuns}; }
    sleep() {
      looks=$((looks + 1))
      case $looks in ${log.map(([at, line]) => `${at}) echo '${line}' >>"$LOG" ;;`).join(" ")} esac
      # What Bash makes of the clock.
      [ $looks != 1 ] || SECONDS=$((SECONDS + ${jump}))
      command sleep 0.1
    }
    prove 0`;
  const { code, stdout } = await run("bash", ["-c", script], { allowFailure: true });
  return { code, stdout };
}

const begins = "Normal: recursive startup rsync: /a/ -> /b/";
const ends = "Normal: Startup of /a/ -> /b/ finished.";

describe.each([0, 3600, -3600])("with a clock that is set by %s s", (jump) => {
  it("accepts a first pass that has ended, within the time for it", async () => {
    expect((await prove([[15, ends]], { jump })).code).toBe(0);
  });

  it("accepts a first pass only after it has not failed for a while", async () => {
    expect((await prove([[2, begins]], { jump })).code).toBe(0);
    const { code, stdout } = await prove([[2, begins]], { jump, endsAt: 5 });
    expect([code, stdout]).toEqual([1, expect.stringContaining("lsyncd did not keep running")]);
  });

  it("does not accept a first pass whose rsync has not begun, however long that takes", async () => {
    expect((await prove([[2, begins]], { jump, rsyncRuns: false, proof: 4 })).code).toBe(1);
  });

  it("refuses an lsyncd that does not begin in time", async () => {
    const { code, stdout } = await prove([], { jump, proof: 1 });
    expect([code, stdout]).toEqual([1, expect.stringMatching(/did not begin to mirror within [12] s/)]);
  });
});
