import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fragment } from "../../infra/commands/script";
import { run } from "../../toolchain/run";

// The limits of inotify belong to the machine, and no sandbox host can set them. So the same functions that a host runs
// run here, with files in place of the kernel's.

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-limits-"));
});
afterAll(() => rm(folder, { recursive: true }));

const sysctl = () => readFile(join(folder, "sysctl"), "utf8").catch(() => "none");
const limit = async () => Number(await readFile(join(folder, "limit"), "utf8"));

/** Runs shell text after the functions, with a limit, and a volume with this many used inodes. */
async function shell(text: string, now: number, inodes: number): Promise<string> {
  await writeFile(join(folder, "limit"), `${now}\n`);
  await rm(join(folder, "sysctl"), { force: true });
  const functions = ["volume.sh", "failover.sh", "report.sh", "inotify.sh", "foreign.sh", "checks.sh"]
    .map(fragment)
    .join("\n");
  const input = `set -u; SOURCE='${folder}'; ${functions}
    WATCHES_FILE='${folder}/limit'; WATCHES_SYSCTL='${folder}/sysctl'; df() { echo "IUsed"; echo ${inodes}; }
    ${text}
    [ "\${#findings[@]}" -eq 0 ] || printf 'refuses: %s\\n' "\${findings[@]}"`;
  return (await run("bash", ["-s"], { input })).stdout.trim();
}

describe("the limit on inotify watches", () => {
  it("is raised to the advised minimum, also after a reboot", async () => {
    await shell("raise_watches /x", 8192, 1000);
    expect(await limit()).toBe(524288);
    expect(await sysctl()).toContain("fs.inotify.max_user_watches = 524288\n");
  });

  it("is computed from the inodes of the source, plus half as many for growth", async () => {
    await shell("raise_watches /x", 524288, 1_000_000);
    expect(await limit()).toBe(1_500_000);
    expect(await sysctl()).toContain("= 1500000\n");
  });

  it("is never lowered", async () => {
    await shell("raise_watches /x", 2_000_000, 1_000_000);
    expect(await limit()).toBe(2_000_000);
    expect(await sysctl()).toBe("none");
  });

  it("is refused if it is too low and cannot be raised", async () => {
    const cannot = `WATCHES_FILE=/nonexistent; watches_limit() { echo 1; }; mkdir -p '${folder}/a/b'; check_watches`;
    expect(await shell(cannot, 1, 1000)).toMatch(
      /^refuses: The source has 1 directories or more, and fs\.inotify\.max_user_watches allows only 1 watches\./,
    );
  });
});

it("too little memory for the watches is refused", async () => {
  expect(await shell("BYTES_PER_WATCH=1000000000000; check_watches", 600_000, 1000)).toMatch(
    /^refuses: Watching the directories of the source needs more memory than the \d+ MiB that are free\./,
  );
});
