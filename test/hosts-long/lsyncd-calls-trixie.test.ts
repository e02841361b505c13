import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { asRoot } from "../../toolchain/privilege";
import { onDebian13 } from "../support/debian13";
import { prepareRecording, recording } from "../support/lsyncd-calls";

// lsyncd of Debian 13, on Debian 13, calls rsync as Debian 12's does (test/hosts/lsyncd-calls.test.ts).

test("lsyncd on Debian 13 calls rsync exactly as recorded", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "lsyncd-calls-"));
  try {
    const args = prepareRecording(folder, "/mnt");
    copyFileSync(path.join(__dirname, "../support/record-lsyncd.sh"), path.join(folder, "record"));
    const record = '. /etc/os-release; echo "$VERSION_CODENAME"; exec bash /mnt/record "$@"';
    const [program = "", ...words] = await onDebian13(folder, "bash", "-c", record, "bash", ...args);
    const { stdout } = await asRoot(program, words);
    expect(stdout).toBe(`trixie\n${recording}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 900_000);
