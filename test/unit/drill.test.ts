import { accountText } from "../../tools/drill/account";
import { readContents } from "../../tools/drill/application";
import { readDrillPages, readSteps } from "../../tools/drill/page";

const block = (comment: string, command = "true"): string => `${comment}\n\n\`\`\`bash\n${command}\n\`\`\`\n`;

describe("the steps of a drill page", () => {
  it("are its blocks and events in order", () => {
    const page = `text\n<!-- drill event: it fails -->\n${block("<!-- drill accept=0,24 prints=ok keep=UUID: look -->", "a\nb")}`;
    expect(readSteps(page, "restore")).toEqual([
      { kind: "event", title: "it fails" },
      { kind: "command", title: "look", command: "a\nb", where: "host", accept: [0, 24], prints: "ok", keep: "UUID" },
    ]);
  });

  it("can be limited to one variant", () => {
    const page =
      block("<!-- drill reverse: there -->") +
      block("<!-- drill restore workstation: back -->") +
      block("<!-- drill skip: no -->");
    expect(readSteps(page, "restore").map(({ kind, title }) => [kind, title])).toEqual([
      ["command", "back"],
      ["skip", "no"],
    ]);
  });

  it("include every block", () => {
    expect(() => readSteps(block(""), "restore")).toThrow(/line 3: no comment says what the drill does/);
  });

  it("contain the documented commands", () => {
    const commands = readSteps(readDrillPages(), "restore").flatMap((step) =>
      step.kind === "event" ? [] : [step.command],
    );
    const at = [
      "sudo systemctl stop lsyncd",
      "fsck -n -f /dev/mapper/nvme2n1",
      'find /mnt/storage_do_2 -name "*.sqlite" -exec sqlite3 {} "PRAGMA ignore_check_constraints=ON; PRAGMA integrity_check;" \\;',
      "SQLITE_STORAGE_PATH=/mnt/storage_do_2",
      "pm2 restart all",
      "rsync -avP --sparse --modify-window=-1 /mnt/storage_do_2/ /mnt/storage_do_1/",
      "pulumi up",
    ].map((text) => commands.findIndex((command) => command.includes(text)));
    expect(at).not.toContain(-1);
    expect([...at].sort((a, b) => a - b)).toEqual(at);
  });
});

describe("the content of a database", () => {
  it("is read from the answers, with every error", () => {
    expect(
      readContents(
        "== a.sqlite\n12 1700000000.5 AB\n== b.db\n3 1.0 CD\nchain broken at 2\n== c.db\nmissing\n== d.db\n",
      ),
    ).toEqual([
      { path: "a.sqlite", n: 12, time: 1700000000.5, sum: "AB" },
      { path: "b.db", n: 3, time: 1, sum: "CD", fault: "chain broken at 2" },
      { path: "c.db", n: 0, time: 0, sum: "", fault: "missing" },
      { path: "d.db", n: 0, time: 0, sum: "", fault: "no answer" },
    ]);
  });
});

describe("the drill's report", () => {
  it("names the worst database and the times", () => {
    const text = accountText({
      steps: [
        { title: "stop", where: "host", command: "sudo systemctl stop lsyncd", result: "done", seconds: 0.25 },
        { title: "LUKS", where: "host", command: "cryptsetup", result: "not here: LUKS" },
      ],
      losses: [
        { path: "a.sqlite", transactions: 2, seconds: 0.9 },
        { path: "b.db", transactions: 0, seconds: 1.4 },
      ],
      recoverySeconds: 8.04,
    });
    expect(text).toMatch(/^1 +host +sudo systemctl stop lsyncd +done +0\.3$/m);
    expect(text).toMatch(/^2 +host +cryptsetup +not here: LUKS +-$/m);
    expect(text).toMatch(/^recovery point {2}1\.4 s/m);
    expect(text).toMatch(/^recovery time {3}8\.0 s/m);
    expect(text).not.toMatch(/^return/m);
  });
});
