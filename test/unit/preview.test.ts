import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { bundle } from "../../infra/commands/bundle";
import { describeDrift, describePass } from "../../infra/drift";
import { readArguments } from "../../cli/preview/arguments";
import { readEvents } from "../../cli/preview/events";
import { comment, commentLimit, marker, summary } from "../../cli/preview/markdown";
import { countedList, shortList } from "../../cli/preview/names";
import { stackReport, type StackReport } from "../../cli/preview/report";
import { stackNames, touchedStacks } from "../../cli/preview/stacks";

// The engine's replacement for a secret in its event log.
const hidden = { "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", ciphertext: "[secret]" };

const mirrorUrn = (host: string) => `urn:pulumi:prod::lsyncd::lsyncd:index:Mirror::${host}`;

interface Fake {
  op?: string;
  old?: object;
  new?: object;
  diffs?: string[];
}

const step = (host: string, part: string, { op = "update", old, new: after, diffs = [] }: Fake) => ({
  resourcePreEvent: {
    metadata: {
      op,
      urn: `urn:pulumi:prod::lsyncd::lsyncd:index:Mirror$command:remote:Command::${host}-${part}`,
      type: "command:remote:Command",
      old: old ? { parent: mirrorUrn(host), inputs: { connection: hidden, ...old } } : null,
      new: after ? { parent: mirrorUrn(host), inputs: { connection: hidden, ...after } } : null,
      diffs,
    },
  },
});
const mirror = (host: string) => ({
  resourcePreEvent: {
    metadata: { op: "same", urn: mirrorUrn(host), type: "lsyncd:index:Mirror", old: {}, new: {}, diffs: null },
  },
});
const says = (message: string, severity = "error") => ({ diagnosticEvent: { message, severity } });
const end = (result = "succeeded") => ({ summaryEvent: { result } });

async function reportOf(...events: object[]): Promise<StackReport> {
  return stackReport(await readEvents(events.map((event) => JSON.stringify(event))), "prod");
}

/** The standard input of an activation that deploys these files: path, text and what they restart. */
const deploys = (files: [path: string, text: string, restart?: string][], more: object = {}): object => ({
  stdin: bundle({
    settings: "HOST=x\n",
    ...Object.fromEntries(files.map(([path, text]) => [path, text])),
    catalogue: `CATALOGUE='${files.map(([path, , restart = "none"]) => `0644 ${restart} sent ${path}`).join("\n")}'\n`,
    ...more,
    program: "main\n",
  }),
});

const configFile = "/etc/lsyncd/lsyncd.conf.lua";

/** Events of a host whose configuration gets another delay. */
const slower = (host: string) => [
  mirror(host),
  step(host, "preflight", { old: { stdin: "DEPLOYMENT=a\ncheck" }, new: { stdin: "DEPLOYMENT=b\ncheck" } }),
  step(host, "activation", {
    old: deploys([
      [configFile, "sync {\n  delay = 1,\n}\n", "lsyncd"],
      ["/x", "x"],
    ]),
    new: deploys([
      [configFile, "sync {\n  delay = 5,\n}\n", "lsyncd"],
      ["/x", "x"],
    ]),
  }),
];

describe("the pull request comment", () => {
  it("shows the changed lines, what restarts, and the preflight's result, but no changes that only follow from these", async () => {
    const text = comment([await reportOf(...slower("sqlite-1"), end())]);
    expect(text).toContain(
      "| sqlite-1 | `/etc/lsyncd/lsyncd.conf.lua` | **lsyncd**: a full pass over the volume | none recorded | passed |",
    );
    expect(text).toContain("-  delay = 1,\n+  delay = 5,");
    expect(text).not.toContain("activation");
    expect(text).not.toContain("preflight` ");
  });

  it("announces no restart for a file that lsyncd does not read", async () => {
    const report = await reportOf(
      mirror("sqlite-1"),
      step("sqlite-1", "activation", {
        old: deploys([["/usr/local/bin/lsyncd-monitor.sh", "a\n"]]),
        new: deploys([["/usr/local/bin/lsyncd-monitor.sh", "b\n"]]),
      }),
      end(),
    );
    expect(report.hosts[0]?.restarts).toEqual([]);
    expect(comment([report])).toContain("| sqlite-1 | `/usr/local/bin/lsyncd-monitor.sh` | nothing | - | passed |");
  });

  it("shows equal changes of a hundred hosts once", async () => {
    const names = Array.from({ length: 100 }, (_, index) => `sqlite-${index + 1}`);
    const text = comment([await reportOf(...names.flatMap(slower), end())]);
    expect(text.match(/\+ {2}delay = 5,/g)).toHaveLength(1);
    expect(text).toContain("sqlite-1 … sqlite-100 (100 hosts)");
    expect(text.length).toBeLessThan(1500);
  });

  it("stays within the size limit when all changes differ, and says that there are more", async () => {
    const names = Array.from({ length: 100 }, (_, index) => `${"é".repeat(40)}${index}x`);
    const events = names.flatMap((host, index) => [
      mirror(host),
      step(host, "activation", {
        old: deploys([[`/${index}`, ""]]),
        new: deploys([[`/${index}`, `${host}\n`.repeat(500)]]),
      }),
      says(`${host} could not be reached, its preflight was not run: Timed out at ${host}`, "warning"),
    ]);
    const text = comment([await reportOf(...events, end())]);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(commentLimit);
    expect(text.length).toBeGreaterThan(20_000);
    expect(text).toMatch(/parts did not fit here. To see all: `npm run preview -- --stack prod`/);
    expect(text).toContain("… and 40 hosts more");
  });

  it("never shows a secret, and says that it changes", async () => {
    const kept = (paths: string[], mark = "") =>
      deploys([], {
        settings: `HOST=x\nSECRETS=${mark}\n`,
        catalogue: `CATALOGUE='${paths.map((path) => `0600 none kept ${path}`).join("\n")}'\n`,
      });
    const changes = async (old: object, now: object, diffs: string[]) => {
      const report = await reportOf(
        mirror("sqlite-1"),
        step("sqlite-1", "preflight", { old: { stdin: hidden }, new: { stdin: hidden }, diffs: ["stdin"] }),
        step("sqlite-1", "activation", { old, new: now, diffs }),
        end(),
      );
      expect(comment([report])).not.toContain("[secret]");
      return report.hosts[0]?.changes.map(({ what, how, note }) => [what, how, note]);
    };
    const note = "not shown, it contains a secret";
    const mail = "/root/.msmtprc-lsyncd";
    expect(await changes(kept([mail]), kept([mail], "1"), ["stdin"])).toEqual([[mail, "changed", note]]);
    expect(await changes(kept([mail]), kept([mail]), ["connection"])).toEqual([
      ["login", "changed", "not shown, it contains a secret"],
    ]);
    expect(await changes(kept(["/a", mail]), kept(["/a", mail], "1"), ["stdin"])).toEqual([
      [`/a or ${mail}`, "changed", note],
    ]);
    expect(await changes(kept([]), kept([mail]), ["stdin"])).toEqual([[mail, "added", note]]);
    // A former secret: its new value is not shown either.
    expect(await changes(kept(["/x"]), deploys([["/x", "plain now"]]), ["stdin"])).toEqual([["/x", "changed", note]]);
    // With a sudo password, the whole command is secret.
    expect(await changes({ stdin: hidden }, { stdin: hidden }, ["stdin"])).toEqual([
      ["the deployment", "changed", note],
    ]);
  });

  it("shows a file's mode, a removed file, and a changed script, each once", async () => {
    const old = deploys([
      ["/mode", "x"],
      ["/gone", "x"],
    ]);
    const now = deploys([["/mode", "x"]], { catalogue: "CATALOGUE='0755 none sent /mode'\n", more: "more\n" });
    const { hosts } = await reportOf(mirror("sqlite-1"), step("sqlite-1", "activation", { old, new: now }), end());
    expect(hosts[0]?.changes.map(({ what, how, note }) => [what, how, note])).toEqual([
      ["/mode", "changed", "mode only"],
      ["/gone", "removed", undefined],
    ]);
  });

  it("says that files of an earlier version are uploaded in another form", async () => {
    const report = await reportOf(
      mirror("sqlite-1"),
      step("sqlite-1", "file-config", { op: "delete", old: { stdin: "a" } }),
      step("sqlite-1", "activation", { old: { stdin: "HOST=sqlite-1\n" }, new: deploys([["/x", "x"]]) }),
      end(),
    );
    expect(report.hosts[0]?.changes).toEqual([
      { what: "everything", how: "changed", note: "an earlier version deployed it in another format" },
    ]);
  });

  it("cannot be escaped from by the content of a file", async () => {
    const text = comment([
      await reportOf(
        mirror("sqlite-1"),
        step("sqlite-1", "activation", {
          old: deploys([["/x", ""]]),
          new: deploys([["/x", "```\n</details>@everyone\u001b[2J\n"]]),
        }),
        end(),
      ),
    ]);
    expect(text).toMatch(/^````diff$/m);
    expect(text).not.toContain("\u001b");
  });

  it("escapes all Markdown in a host's answer", async () => {
    const evil =
      "x` | <img src=https://evil.example/?> @everyone [a](https://evil.example) \u001b[2J\u202e ```\n</details>";
    const drift = {
      resourcePreEvent: {
        metadata: {
          op: "update",
          urn: "urn:pulumi:prod::lsyncd::lsyncd:index:Mirror$pulumi-nodejs:dynamic/lsyncd:HostState::sqlite-1-state",
          type: "pulumi-nodejs:dynamic/lsyncd:HostState",
          old: { parent: mirrorUrn("sqlite-1"), inputs: {}, outputs: { drift: [evil, `/etc/${evil}`] } },
          new: { parent: mirrorUrn("sqlite-1"), inputs: {} },
          diffs: null,
        },
      },
    };
    const text = comment([
      await reportOf(
        mirror("sqlite-1"),
        drift,
        says(`Preflight refuses sqlite-1 (192.0.2.1):\n  1. ${evil}`),
        // An invalid name is not shown as a name.
        says(`Preflight refuses <b>${evil} (x):\n  1. It lies.`),
        says(`@everyone could not be reached, its preflight was not run: ${evil}`, "warning"),
        says(evil, "warning"),
        end("failed"),
      ),
    ]);
    expect(text).not.toMatch(/[\u001b\u202e]/);
    // Outside of code blocks, none of it remains.
    const outside = text.replaceAll(/^(`{3,})[a-z]*\n[^]*?^\1$/gm, "").replaceAll(/(`+)(?!`)[^]*?[^`]\1(?!`)/g, "");
    expect(outside).not.toMatch(/evil|@everyone|<img|<b>/);
    expect(outside.match(/<\/details>/g)).toHaveLength(outside.match(/<details/g)?.length ?? 0);
    for (const line of text.split("\n").filter((row) => row.startsWith("| ")))
      expect(line.replaceAll("\\|", "").match(/\|/g)).toHaveLength(6);
  });

  it("limits the text of a host that answers too much", async () => {
    const flood = `${"x".repeat(10_000)}\n`.repeat(1000);
    const text = comment([
      await reportOf(
        ...slower("sqlite-1"),
        says(flood),
        says(`Preflight refuses sqlite-1 (a):\n  1. ${flood}`),
        end("failed"),
      ),
    ]);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(commentLimit);
    expect(text).toContain("+  delay = 5,");
    expect(text).toContain("more lines");
  });

  it("shows the expected duration of full passes from the hosts' records, in one row for equal changes", async () => {
    const takes = (host: string, seconds: number) => says(describePass(host, [seconds, 1, 900_000]) ?? "", "debug");
    const rowOf = async (...more: object[]) => {
      const events = ["sqlite-1", "sqlite-2", "sqlite-3"].flatMap(slower);
      const report = await reportOf(...events, ...more, end());
      expect(report.messages).toEqual([]);
      return / (about .*?|none .*?) \| passed/.exec(comment([report]))?.[1];
    };
    const [short, long] = [takes("sqlite-1", 40), takes("sqlite-3", 7 * 3600)];
    expect(await rowOf()).toBe("none recorded");
    expect(await rowOf(short)).toBe("about 40 s, not known on 2");
    expect(await rowOf(short, takes("sqlite-2", 300), long)).toBe("about 40 s to 7.0 h");
    expect(await rowOf(takes("sqlite-1", 300), takes("sqlite-2", 301), takes("sqlite-3", 310))).toBe("about 5 min");
    expect(summary(await reportOf(...slower("sqlite-1"), short, end()))).toMatch(
      /full pass +preflight\n.* about 40 s +passed$/m,
    );
  });

  it("names a new host and a removed one", async () => {
    const report = await reportOf(
      mirror("sqlite-1"),
      step("sqlite-1", "activation", { op: "create", new: deploys([["/x", "x"]]) }),
      step("sqlite-2", "activation", { op: "delete", old: deploys([["/x", "x"]]) }),
      mirror("sqlite-2"),
      end(),
    );
    const text = comment([report]);
    expect(text).toContain("| sqlite-1 | **new**: 1 file, and missing packages | lsyncd starts");
    expect(text).toMatch(/\| sqlite-2 \| \*\*removed\*\*.*both volumes stay \| lsyncd stops \| - \| not needed \|/);
  });

  it("says that the login changes, without details", async () => {
    const same = { stdin: "x" };
    const report = await reportOf(
      mirror("sqlite-1"),
      step("sqlite-1", "preflight", { old: same, new: same, diffs: ["connection"] }),
      step("sqlite-1", "packages", { old: same, new: same, diffs: ["connection"] }),
      end(),
    );
    expect(report.hosts[0]?.changes).toEqual([
      { what: "login", how: "changed", note: "not shown, it contains a secret" },
    ]);
  });

  it("shows a changed script of the program without the lines that name its host", async () => {
    const script = (host: string, line: string) => `HOST=${host}\nADDRESS=${host}\n${line}\n`;
    const events = ["sqlite-1", "sqlite-2"].flatMap((host) => [
      mirror(host),
      step(host, "packages", { old: { stdin: script(host, "old") }, new: { stdin: script(host, "new") } }),
    ]);
    const text = comment([await reportOf(...events, end())]);
    expect(text.match(/^\+new$/gm)).toHaveLength(1);
    expect(text).toContain("the script of the step packages");
  });

  it("starts with its marker line, also when nothing changes", () => {
    expect(comment([]).split("\n")[0]).toBe(marker);
  });
});

describe("manual changes", () => {
  const activate = `bash -c 'eval "$(cat)"' activate install`;
  const again = (host: string) =>
    step(host, "activation", { old: { create: activate }, new: { create: `${activate} run 20260102T030405Z` } });
  const drift = describeDrift("sqlite-1", "192.0.2.11", [
    {
      what: "/etc/lsyncd/lsyncd.conf.lua",
      how: "has other content",
      lines: ["@@ -1 +1 @@", "-delay = 9", "+delay = 1"],
    },
    { what: "lsyncd-monitor.timer", how: "is disabled, not enabled", lines: [] },
    { what: "package lsyncd", how: "is not installed", lines: [] },
  ]);

  it("are shown with their lines and the services that the repair restarts", async () => {
    const report = await reportOf(mirror("sqlite-1"), says(drift, "warning"), again("sqlite-1"), end());
    const text = comment([report]);
    expect(text).toMatch(
      /^\| sqlite-1 \| `\/etc\/lsyncd\/lsyncd.conf.lua` \(changed by hand\), .* \| \*\*lsyncd\*\*.* \| passed \|$/m,
    );
    expect(text).toContain(
      "<code>/etc/lsyncd/lsyncd.conf.lua</code> changed by hand on sqlite-1: +1 −1, restarts lsyncd",
    );
    expect(text).toContain("```diff\n@@ -1 +1 @@\n-delay = 9\n+delay = 1\n```");
    expect(text).toContain("`package lsyncd` changed by hand on sqlite-1: is not installed; a deployment repairs it");
    expect(report.messages).toEqual([]);
  });

  it("of a reinstalled host are shown as a whole, once", async () => {
    const call = "preflight deployment 0123456789ab";
    const sent = { old: { create: call, stdin: "a" }, new: { create: `${call} run 20260102T030405Z`, stdin: "a" } };
    const report = await reportOf(mirror("sqlite-1"), step("sqlite-1", "preflight", sent), again("sqlite-1"), end());
    expect(report.hosts[0]?.changes).toEqual([
      { what: "everything", how: "changed", note: "nothing is deployed there now" },
    ]);
  });

  it("are not mentioned when there are none", async () => {
    const report = await reportOf(mirror("sqlite-1"), end());
    expect(report.hosts[0]?.outcome).toBe("unchanged");
  });
});

describe("the preflight in the comment", () => {
  const refusal =
    "Preflight warns about sqlite-1 (192.0.2.1):\n  1. There is no sendmail.\nPreflight refuses sqlite-1 (192.0.2.1), nothing was changed on it:\n  1. The target holds data.";

  it("shows a refusal with its findings, and lists that host first", async () => {
    const report = await reportOf(...slower("sqlite-0"), ...slower("sqlite-1"), says(refusal), end("failed"));
    expect(report.hosts.map(({ preflight }) => preflight)).toEqual(["passed", "refused"]);
    const text = comment([report]);
    expect(text.indexOf("| sqlite-1 |")).toBeLessThan(text.indexOf("| sqlite-0 |"));
    expect(text).toContain(
      "<summary>The preflight refuses sqlite-1</summary>\n\n```text\nsqlite-1:\n  The target holds data.",
    );
    expect(text).toContain("**The preview failed.**");
  });

  it("prints the reason in a terminal, below the table", async () => {
    const report = await reportOf(...slower("sqlite-0"), ...slower("sqlite-1"), says(refusal), end("failed"));
    expect(summary(report)).toMatch(/\n\n {2}sqlite-1: the preflight refuses: The target holds data\.$/);
  });

  it("recognizes a refusal in the coloured output of a terminal", async () => {
    const coloured = `<{%reset%}>${refusal}<{%reset%}>\n`;
    const report = await reportOf(...slower("sqlite-1"), says(coloured), end("failed"));
    expect(report.hosts.map(({ preflight }) => preflight)).toEqual(["refused"]);
  });

  it("is not taken for another host's when names have a common prefix", async () => {
    const report = await reportOf(...slower("sqlite-1"), ...slower("sqlite-10"), says(refusal), end("failed"));
    expect(report.hosts.find(({ host }) => host === "sqlite-10")?.preflight).toBe("passed");
  });

  it("could not run on a host that does not answer", async () => {
    const unreached = "sqlite-1 could not be reached, its preflight was not run: Timed out";
    const report = await reportOf(...slower("sqlite-1"), says(unreached, "warning"), end());
    expect(report.hosts[0]?.preflight).toBe("could not be run");
    expect(comment([report])).toContain("Timed out");
  });

  it.each([
    "was skipped, its preflight was not run: no password",
    "did not answer, its preflight was not run: no answer in 120 s",
  ])("could not be run on a host that %s", async (why) => {
    const report = await reportOf(...slower("sqlite-1"), says(`sqlite-1 ${why}`, "warning"), end());
    expect(report.hosts[0]?.preflight).toBe("could not be run");
  });

  it("did not pass when it printed nothing and an error names no host", async () => {
    const report = await reportOf(...slower("sqlite-1"), says("the connection was closed"), end("failed"));
    expect(report.hosts[0]?.preflight).toBe("could not be run");
    expect(comment([report])).toContain("error: the connection was closed");
  });

  it("is reported once for hosts that refuse for the same reason", async () => {
    const events = [1, 2, 3].flatMap((number) => [
      ...slower(`sqlite-${number}`),
      says(`Preflight refuses sqlite-${number} (192.0.2.${number}), nothing was changed on it:\n  1. The same.`),
    ]);
    const text = comment([await reportOf(...events, end("failed"))]);
    expect(text.match(/The same\./g)).toHaveLength(1);
    expect(text).toContain("The preflight refuses sqlite-1 … sqlite-3 (3 hosts)");
  });

  it("is reported once for hosts that are unreachable for the same reason", async () => {
    const events = [1, 2, 3].flatMap((number) => [
      ...slower(`sqlite-${number}`),
      says(
        `sqlite-${number} could not be reached, its preflight was not run: root@192.0.2.${number} port 22: connect ECONNREFUSED 192.0.2.${number}:22\nMore: docs/troubleshooting.md#a-host-cannot-be-reached`,
        "warning",
      ),
    ]);
    const text = comment([await reportOf(...events, end())]);
    expect(text.match(/ {2}connect ECONNREFUSED$/gm)).toHaveLength(1);
  });

  it("is listed for a host that the program did not reach", async () => {
    expect((await reportOf(says(refusal), end("failed"))).hosts).toMatchObject([
      { host: "sqlite-1", preflight: "refused" },
    ]);
  });
});

describe("the engine's events", () => {
  it("for debugging are ignored", async () => {
    const preview = await readEvents([
      JSON.stringify(says("everything", "debug")),
      JSON.stringify(says("a", "warning")),
    ]);
    expect(preview.messages).toEqual([{ severity: "warning", text: "a" }]);
    expect(preview.succeeded).toBeUndefined();
  });
});

describe("displaying host names", () => {
  it.each([
    [["sqlite-1", "sqlite-2", "sqlite-3"], "sqlite-1 … sqlite-3"],
    [["sqlite-10", "sqlite-9", "sqlite-11"], "sqlite-9 … sqlite-11"],
    [["sqlite-1", "sqlite-2"], "sqlite-1, sqlite-2"],
    [["a", "b", "c"], "a, b, c"],
    [["db1", "db3", "db4", "db5", "mail"], "db1, db3 … db5, mail"],
    [["w-08", "w-09", "w-10"], "w-08 … w-10"],
    [["w-9", "w-010", "w-011"], "w-9, w-010, w-011"],
  ])("%j: %s", (names, list) => {
    expect(shortList(names)).toBe(list);
  });

  it("adds a number to names that look the same", () => {
    expect(countedList(["a1", "a2", "a3"])).toBe("a1 … a3 (3 hosts)");
  });
});

describe("stacks affected by a change", () => {
  const files = ["stacks/Pulumi.sandbox.yaml", "stacks/Pulumi.a.yaml", "stacks/Pulumi.b.yaml", "README.md"];

  it("are those with a stack file, except the sandbox", () => {
    expect(stackNames(files)).toEqual(["a", "b"]);
  });

  it.each([
    [["stacks/Pulumi.a.yaml", "README.md"], ["a"]],
    [["templates/etc/lsyncd/lsyncd.conf.lua.hbs"], ["a", "b"]],
    [["infra/files.ts"], ["a", "b"]],
    [["package-lock.json"], ["a", "b"]],
    [["docs/alerts.md", "test/unit/files.test.ts", "stacks/Pulumi.sandbox.yaml"], []],
    [["stacks/Pulumi.gone.yaml"], []],
  ])("%j: %j", (changed, stacks) => {
    expect(touchedStacks(changed, ["a", "b"])).toEqual(stacks);
  });
});

describe("the command line", () => {
  it("keeps its own options and passes the others to the engine", () => {
    expect(readArguments(["--stack", "a", "-s", "b", "--markdown=x.md", "--refresh", "--target", "urn"])).toEqual({
      stacks: ["a", "b"],
      markdown: "x.md",
      list: false,
      rest: ["--refresh", "--target", "urn"],
    });
  });

  it.each([[["--stack"]], [["--markdown="]], [["--changed-since", "main", "--stack", "a"]]])("refuses %j", (argv) => {
    expect(() => readArguments(argv)).toThrow();
  });
});

it("the summary for a terminal contains no Markdown", async () => {
  expect(summary(await reportOf(...slower("sqlite-1"), end()))).toMatch(
    /^1 host: 1 to change. lsyncd restarts on 1.\n\n {2}hosts .*\n {2}sqlite-1 {3}\/etc\/lsyncd\/lsyncd.conf.lua {3}lsyncd: /,
  );
});

describe("the workflows", () => {
  const folder = resolve(__dirname, "../../.github/workflows");
  const texts = readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")] as const);
  const workflow = (name: string) => parse(readFileSync(join(folder, name), "utf8")) as Record<string, unknown>;

  it.each(texts)("%s uses only pinned actions, with minimal permissions", (_, text) => {
    const actions = [...text.matchAll(/uses: (.*)$/gm)].map(([, action]) => action);
    expect(actions.length).toBeGreaterThan(0);
    for (const action of actions) expect(action).toMatch(/^[a-z-]+\/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
    expect(text).not.toMatch(/pull_request_target:|write-all/);
    expect(text).toMatch(/^permissions:/m);
  });

  it("updates the comment that starts with the marker line", () => {
    expect(texts.find(([name]) => name === "preview.yml")?.[1]).toContain(`startswith("${marker}")`);
  });

  it("gives write permission only to a job that runs nothing from the pull request", () => {
    const jobs = workflow("preview.yml").jobs as Record<string, { permissions: object; steps: { uses?: string }[] }>;
    const writing = Object.values(jobs).filter(({ permissions }) => JSON.stringify(permissions).includes("write"));
    expect(writing).toHaveLength(1);
    expect(writing[0]?.steps.map(({ uses }) => uses ?? "").join()).not.toContain("checkout");
  });
});
