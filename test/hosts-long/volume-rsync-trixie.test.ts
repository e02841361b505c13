import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { asRoot } from "../../toolchain/privilege";
import { onDebian13 } from "../support/debian13";
import { library } from "../support/host-settings";
import { installTime, needPrograms } from "../support/programs";

// The C library of Debian 13 sets the mode of a link with a system call of its own, fchmodat2. test/programs/volume-rsync has Debian 12's.

beforeAll(() => needPrograms("strace"), installTime);

test.each([
  ["rsync", true],
  ["/mnt/library/volume-rsync", false],
])(
  "on Debian 13, %s sets the mode of a link by its path: %s",
  async (program, sets) => {
    const folder = mkdtempSync(path.join(tmpdir(), "lsyncd-as-code-trixie-"));
    try {
      for (const name of ["source", "source/d", "target"]) mkdirSync(path.join(folder, name));
      symlinkSync("elsewhere", path.join(folder, "source/d/link"));
      cpSync(library, path.join(folder, "library"), { recursive: true });
      const options = ["-lptgosWD", "--no-perms", "-r", "/mnt/source/", "/mnt/target/"];
      await asRoot("strace", [
        "-ff",
        "-o",
        path.join(folder, "trace"),
        ...(await onDebian13(folder, program, ...options)),
      ]);
      // strace of Debian 12 has no name for it: 0x1c4 is 452, and 0xffffff9c a path that does not begin at an open directory.
      const calls = readdirSync(folder)
        .filter((name) => name.startsWith("trace."))
        .flatMap((name) => readFileSync(path.join(folder, name), "utf8").split("\n"))
        .filter((line) => /(syscall_0x1c4\(0xffffff9c|fchmodat2\(AT_FDCWD)/.test(line));
      expect(calls).not.toEqual([]);
      expect(calls.some((call) => !call.includes("ENOSYS"))).toBe(sets);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  900_000,
);
