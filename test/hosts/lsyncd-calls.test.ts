import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { run } from "../../toolchain/run";
import { OPTIONS } from "../support/copier";
import { prepareRecording, readRecording, recording } from "../support/lsyncd-calls";
import { installTime, needPrograms } from "../support/programs";

// A real lsyncd with the configuration of a host still passes what was recorded. When it does not, the copier meets calls that no test
// knows: record them anew (record-lsyncd.sh), and let the copier's tests use them.

beforeAll(() => needPrograms("lsyncd", "perl", "python3"), installTime);

test("the copier's tests use the recorded options", () => {
  const sorted = OPTIONS.map((option) =>
    /^-\w/.test(option) ? `-${Array.from(option.slice(1)).sort().join("")}` : option,
  );
  for (const { step, options } of readRecording(recording))
    expect([step, sorted.filter((option) => !options.includes(option))]).toEqual([step, []]);
});

test("lsyncd calls rsync exactly as recorded", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "lsyncd-calls-"));
  try {
    const script = path.join(__dirname, "../support/record-lsyncd.sh");
    const { stdout } = await run("bash", [script, ...prepareRecording(folder)]);
    expect(stdout).toBe(recording);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 300_000);
