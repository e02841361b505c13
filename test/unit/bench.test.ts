import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { barChart, step } from "../../tools/bench/chart";
import { renderPage, sections } from "../../tools/bench/sections";
import { figure, quantile, slope, spread, spreadText } from "../../tools/bench/statistics";
import { markdownTable } from "../../tools/bench/table";
import { deploySection } from "../../tools/bench/deploy/section";
import { merge, ratios, samplesOf } from "../../tools/bench/deploy/sessions";
import { judge } from "../../tools/bench/deploy/targets";
import type { Sample, Session, Work } from "../../tools/bench/deploy/types";
import { hostSections } from "../../tools/bench/host/section";
import { sqliteSections } from "../../tools/bench/sqlite/section";
import type { SqliteResults } from "../../tools/bench/sqlite/types";
import { readSshdLog } from "../../tools/bench/deploy/sshd";
import { run } from "../../toolchain/run";

const root = resolve(__dirname, "../..");

describe("statistics", () => {
  it("give the median and the range of the middle values", () => {
    expect(spread([5, 1, 3])).toEqual({ median: 3, least: 1, most: 5 });
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(2.5);
    expect(quantile([0, 100], 0.99)).toBeCloseTo(99);
    expect(quantile([], 0.5)).toBeNaN();
  });

  it("give the cost of one more item", () => {
    expect(slope([0, 1, 2, 3].map((x) => ({ x, y: 7 + 2 * x })))).toBeCloseTo(2);
  });

  it.each([
    [1234.5, "1235"],
    [34.56, "34.6"],
    [3.456, "3.46"],
    [0.0345, "0.035"],
    [0, "0"],
    [NaN, "–"],
  ])("format %p as %s", (value, text) => {
    expect(figure(value)).toBe(text);
  });

  it("format a range, and a single value", () => {
    expect(spreadText([2, 1, 3])).toBe("2.00 (1.00–3.00)");
    expect(spreadText([2])).toBe("2.00");
  });
});

describe("a table", () => {
  it("right-aligns numbers, and keeps a bar in one cell", () => {
    expect(markdownTable(["a", "b"], [["x|y", "1"]])).toBe("| a | b |\n| --- | --: |\n| x\\|y | 1 |");
  });
});

describe("a chart", () => {
  const chart = barChart({
    title: "a & b",
    axis: "seconds",
    groups: ["1 host", "4 hosts"],
    series: [
      { name: "quick", values: [10, 20] },
      { name: "slow", values: [40, undefined] },
    ],
  });
  const bars = [...chart.matchAll(/<rect x="[^"]*" y="([^"]*)" width="[^"]*" height="([^"]*)" fill="(#\w+)"><title>/g)];

  it("has a bar for each value, with a matching height, and none for a missing value", () => {
    expect(bars).toHaveLength(3);
    const heights = bars.map(([, , height]) => Number(height));
    expect((heights[1] ?? 0) / (heights[0] ?? 0)).toBeCloseTo(4, 1);
    expect((heights[2] ?? 0) / (heights[0] ?? 0)).toBeCloseTo(2, 1);
  });

  it("has one colour for each series, and is valid XML", () => {
    expect(new Set(bars.map(([, , , colour]) => colour)).size).toBe(2);
    expect(chart).toContain("a &amp; b");
    expect(chart).not.toMatch(/NaN|undefined|Infinity/);
  });

  it.each([
    [9, 2],
    [0.43, 0.1],
    [130, 50],
  ])("for values up to %p: labels its axis every %p", (most, distance) => {
    expect(step(most)).toBeCloseTo(distance);
  });
});

describe("the log of an SSH server", () => {
  it("yields the connections, the sessions and the largest number open at once", () => {
    const log = `Connection from 127.0.0.1 port 1001 on 127.64.0.1 port 22 rdomain ""
Accepted key ED25519 SHA256:x found at /root/.ssh/authorized_keys:1
Accepted publickey for root from 127.0.0.1 port 1001 ssh2: ED25519 SHA256:x
pam_unix(sshd:session): session opened for user root(uid=0) by (uid=0)
Starting session: command for root from 127.0.0.1 port 1001 id 0
Connection from 127.0.0.1 port 1002 on 127.64.0.1 port 22 rdomain ""
Starting session: subsystem 'sftp' for root from 127.0.0.1 port 1001 id 1
Close session: user root from 127.0.0.1 port 1001 id 0
Disconnected from user root 127.0.0.1 port 1001
Connection closed by authenticating user root 127.0.0.1 port 1002 [preauth]
Connection from 127.0.0.1 port 1003 on 127.64.0.1 port 22 rdomain ""
Starting session: command on pts/0 for root from 127.0.0.1 port 1003 id 0
Received disconnect from 127.0.0.1 port 1003:11: disconnected by user`;
    expect(readSshdLog(log.split("\n"))).toEqual({ connections: 3, sessions: 3, atOnce: 2 });
  });
});

describe("recorded deployment measurements", () => {
  const sample = (round: string, tool: string, seconds: number, hosts = 1, work: Work = "nothing"): Sample => ({
    ...{ round, tool, hosts, seconds, work, rtt: 0 },
    ...{ cpu: 1, memory: 2 ** 20, connections: 1, sessions: 2, atOnce: 1 },
  });
  const session = (commit: string, ...samples: Sample[]): Session => ({
    conditions: { date: "2026-11-25", commit, cores: 2, memory: 24, kernel: "6", node: "v20" },
    versions: {},
    samples,
  });
  const cell = (tool: string, hosts = 1) => ({ tool, hosts, rtt: 0, work: "nothing" as const });

  it("are merged for the same version of the program, and replaced for another version", () => {
    const first = merge(undefined, session("a", sample("1", "lsyncd-as-code", 5)));
    const second = merge(first, session("a", sample("2", "lsyncd-as-code", 6)));
    expect(samplesOf(second, cell("lsyncd-as-code"))?.samples.map(({ seconds }) => seconds)).toEqual([5, 6]);
    const third = merge(second, session("b", sample("3", "lsyncd-as-code", 2)));
    expect(samplesOf(third, cell("lsyncd-as-code"))?.samples.map(({ seconds }) => seconds)).toEqual([2]);
    expect(third.sessions).toHaveLength(1);
  });

  it("keep the results of a tool that was not measured again", () => {
    const old = merge(
      undefined,
      session("a", sample("1", "lsyncd-as-code", 5), sample("1", "pyinfra", 4), sample("1", "ansible", 20)),
    );
    const found = merge(old, session("b", sample("2", "lsyncd-as-code", 2), sample("2", "pyinfra", 3)));
    const ansible = samplesOf(found, cell("ansible"));
    expect(ansible && ratios(ansible.session, ansible.samples, () => true)).toEqual([5]);
    expect(samplesOf(found, cell("pyinfra"))?.samples.map(({ seconds }) => seconds)).toEqual([3]);
  });

  it("of one task replace only the results of that task", () => {
    const old = merge(undefined, session("a", sample("1", "pyinfra", 4), sample("1", "pyinfra", 9, 1, "first")));
    const found = merge(old, session("b", sample("2", "pyinfra", 3)));
    const seconds = (work: Work) => samplesOf(found, { ...cell("pyinfra"), work })?.samples.map((one) => one.seconds);
    expect([seconds("nothing"), seconds("first")]).toEqual([[3], [9]]);
  });

  it("are compared with the fastest tool of the same round only", () => {
    const one = session(
      "a",
      ...[sample("1", "lsyncd-as-code", 6), sample("1", "pyinfra", 4), sample("1", "ansible", 3)],
      ...[sample("2", "lsyncd-as-code", 6), sample("2", "pyinfra", 2)],
    );
    const own = one.samples.filter(({ tool }) => tool === "lsyncd-as-code");
    expect(ratios(one, own, (tool) => tool !== "lsyncd-as-code")).toEqual([2, 3]);
  });

  it("are checked against the targets", () => {
    const found = merge(
      undefined,
      session(
        "a",
        ...[sample("1", "lsyncd-as-code", 2, 1), sample("1", "pyinfra", 4, 1)],
        ...[sample("2", "lsyncd-as-code", 6, 16), sample("2", "pyinfra", 10, 16)],
        ...[sample("3", "lsyncd-as-code", 4, 8), sample("3", "pyinfra", 2, 8)],
      ),
    );
    const verdicts = new Map(judge(found).map(({ target, found: value }) => [target, value]));
    expect(verdicts.get("nothing changed, 1 host: ratio to the quickest other")).toBe(0.5);
    expect(verdicts.get("nothing changed, 16 hosts: ratio to the quickest other")).toBe(0.6);
    expect(verdicts.get("nothing changed, 16 hosts: times as long as 8 hosts")).toBe(1.5);
    expect(verdicts.get("nothing changed, 4 hosts: ratio to the quickest other")).toBeUndefined();
    const { text } = deploySection.render(found);
    expect(text).toMatch(/nothing changed, 16 hosts: ratio to the quickest other \| 0\.90 \| 0\.60 \| met \|/);
    expect(text).toMatch(
      /nothing changed, 8 hosts: ratio to the quickest other \| 0\.90 \| 2\.00 \| missed by 122 % \|/,
    );
    expect(text).toMatch(/1 host: ratio to the quickest other \| 1\.00 \| 0\.50 \| met \|/);
    expect(text).toMatch(/nothing changed, 4 hosts: ratio to the quickest other \| 0\.90 \| – \| not measured \|/);
  });
});

describe("the mirror's cost for its host", () => {
  const conditions = { date: "2026-11-25", commit: "a", cores: 2, memory: 24, kernel: "6", node: "v20" };

  it("is extrapolated to a volume larger than any measured one", () => {
    const directories = {
      conditions,
      runs: [10_000, 20_000].map((count) => ({ directories: count, start: [count / 10_000], memory: count * 2 ** 10 })),
      kernel: { dentry: 24, ext4_inode_cache: 1000 },
    };
    const text = hostSections.directories?.render({ directories }).text;
    expect(text).toContain("need 266 MB in lsyncd, 266 MB in the kernel, and 27.2 s at each start");
  });

  it("names the command that measures a missing part", () => {
    expect(hostSections.burst?.render({}).text).toContain("npm run bench -- host --parts burst");
  });
});

describe("the cost of mirroring databases", () => {
  const conditions = { date: "2026-11-25", commit: "a", cores: 2, memory: 24, kernel: "6", node: "v20" };
  const text = (name: string, results: SqliteResults): string => sqliteSections[name]?.render(results).text ?? "";

  it("is compared with rsync per run", () => {
    const runs = [{ megabytes: 100, journal: "wal" as const, safe: [1, 4], rsync: [0.5, 1], rsyncSynced: [1, 2] }];
    expect(text("sqlite-copies", { copies: { conditions, runs } })).toContain(
      "| 100 MB, WAL | 40.0 | 133 | 66.7 | 3.00 (2.00–4.00) | 1.50 (1.00–2.00) |",
    );
  });

  it("is given as bytes written to the target per committed byte, and as delay for writers", () => {
    const written = { workload: "8 MB", seconds: 1, max: 9, committed: 1000 };
    const runs = [
      { ...written, by: "none" as const, transactions: 100, p50: 1, p99: 2, target: 0 },
      { ...written, by: "safe" as const, transactions: 80, p50: 1.5, p99: 4, target: 3000 },
    ];
    expect(text("sqlite-writers", { writers: { conditions, runs } })).toContain(
      "| 8 MB | this program | 1.50 | 4.00 | 9.00 | 0.80 | 3.00 |",
    );
  });

  it("broken copies are counted apart from valid ones", () => {
    const behind = { median: 0.5, p99: 1.4, most: 1.9 };
    const runs = [{ how: "x", samples: 10, opened: 590, faults: 7, late: 2, behind }];
    expect(text("sqlite-moments", { moments: { conditions, runs } })).toContain(
      "| x | 10 | 590 | 7 | 2 | 0.50 | 1.40 | 1.90 |",
    );
  });
});

describe("the performance page", () => {
  const known = {
    a: { results: "x", render: (found: unknown) => ({ text: `**${String(found)}**`, charts: { "a.svg": "s" } }) },
  };
  const page = "by hand\n\n<!-- measured: a -->\n\nold\n\n<!-- end -->\n\nby hand\n";

  it("gets the measured sections, and keeps the text written by hand", async () => {
    const made = await renderPage(page, known, () => Promise.resolve(7));
    expect(made.page).toBe("by hand\n\n<!-- measured: a -->\n\n**7**\n\n<!-- end -->\n\nby hand\n");
    expect(made.charts).toEqual({ "a.svg": "s" });
  });

  it("names each missing measurement and the command that makes it", async () => {
    const made = await renderPage(page, known, () => Promise.resolve(undefined));
    expect(made.page).toContain("Not measured yet: `npm run bench -- x`.");
  });

  it("fails when a section is missing or unknown", async () => {
    await expect(renderPage("", known)).rejects.toThrow("no place for: a");
    await expect(renderPage(page, {})).rejects.toThrow("that there is not: a");
  });

  it("has a place for each section", () => {
    const text = readFileSync(join(root, "docs/performance.md"), "utf8");
    for (const name of Object.keys(sections)) expect(text).toContain(`<!-- measured: ${name} -->`);
  });

  it("is generated from the raw results", async () => {
    // In a process of its own: prettier, which lays the tables out, cannot be loaded into jest's.
    const args = ["--import", "tsx", "tools/bench/main.ts", "write", "--check"];
    const { code, stderr } = await run(process.execPath, args, { cwd: root, allowFailure: true });
    expect([code, stderr]).toEqual([0, ""]);
  }, 60_000);
});
