import { readdirSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { compareLines } from "../../cli/preview/lines";
import { comment, summary } from "../../cli/preview/markdown";
import type { StackReport } from "../../cli/preview/report";
import { changesText } from "../../cli/preview/terminal";
import { statusText } from "../../cli/status/report";
import type { HostStatus } from "../../cli/status/schema";
import { defaults } from "../../infra/config";
import { renderFiles } from "../../infra/files";
import { commentSvg } from "../../tools/docs/comment-svg";
import { alertSvg, screens, shownHosts } from "../../tools/docs/screens";
import { excerpt, screen, shownStack } from "../../tools/docs/shots";
import { linesOfSvg, terminalSvg } from "../../tools/docs/svg";
import { account, announcement, ending } from "../../tools/start/account";
import { formOfPicture, pictureOf } from "../support/pictures";
import { hostOf } from "./support/settings";

// The pictures in docs/screens, against what the program writes today. hosts/preview compares them with a real fleet.

const root = resolve(__dirname, "../..");
const names = Object.keys(screens) as (keyof typeof screens)[];
const hosts = Array.from({ length: shownHosts }, (_, index) => `sqlite-${index + 1}`);

/** The preview that the pictures show: another delay on each host. */
function shownReport(): StackReport {
  const path = "/etc/lsyncd/lsyncd.conf.lua";
  const shared = { source: defaults.source, target: defaults.target };
  const [before, after] = [{}, { delay: 5 }].map((more) => renderFiles(hostOf({ ...shared, ...more })));
  const content = (files = before): string => files?.find((file) => file.path === path)?.content ?? "";
  const restart = after?.find((file) => file.path === path)?.restart;
  if (restart !== "lsyncd") throw new Error(`a new delay restarts ${restart}`);
  const change = { what: path, how: "changed", lines: compareLines(content(before), content(after)), restart } as const;
  return {
    stack: shownStack,
    succeeded: true,
    messages: [],
    hosts: hosts.map((host) => ({
      ...{
        host,
        outcome: "changed",
        changes: [change],
        restarts: [restart],
        pass: 1,
        preflight: "passed with warnings",
      },
      findings: [{ kind: "warns", text: "x" }],
    })),
  };
}

/** The status that the picture shows: lsyncd is stopped on the last host. */
function shownStatus(host: string): HostStatus {
  const stopped = host === hosts.at(-1);
  const why = /^- (service: .*)$/m.exec(readFileSync(join(root, "docs/alerts-samples.md"), "utf8"))?.[1] ?? "";
  return {
    ...{ host, address: "192.0.2.1", healthy: !stopped, problems: stopped ? [why] : [] },
    lsyncd: { state: stopped ? "inactive (dead)" : "active", seconds: 1, restarts: 0 },
    checks: { volumes: { verdict: "ok", text: "" } },
    ...(stopped ? {} : { backlog: 0, behind: 0, databases: { waiting: 0 } }),
    disk: { percent: 1, free: 1e6 },
    watches: stopped ? {} : { used: 1, limit: 1 },
    memory: { used: 1e6, limit: 1e6 },
    monitor: { verdict: "ok", seconds: 1, says: [] },
    drift: [],
  };
}

it("are all that docs/screens has", () => {
  expect(readdirSync(join(root, "docs/screens")).sort()).toEqual(names.map((name) => basename(screens[name])).sort());
});

describe.each(names)("%s.svg", (name) => {
  const svg = pictureOf(name);

  it("is readable on a dark page, and contains no address or path of a developer's machine", () => {
    expect(svg).toContain("@media (prefers-color-scheme:dark)");
    expect(linesOfSvg(svg).join("\n")).not.toMatch(/\/(root|home|tmp|work)\b|127\.\d/);
  });
});

describe.each(["start", "preview", "status"] as const)("%s.svg", (name) => {
  it("is laid out as `npm run docs -- --screens` does", () => {
    const plain = (svg: string) => svg.replaceAll(/<\/?tspan[^>]*>/g, "");
    expect(plain(terminalSvg(linesOfSvg(pictureOf(name)).join("\n")))).toBe(plain(pictureOf(name)));
  });
});

describe("the pictures show what the program writes today; to draw them again: npm run docs -- --screens", () => {
  it("npm start", () => {
    /** Without times and versions. */
    const form = (line: string) => line.replaceAll(/\d+(?:\.\d+)*(?= s\b|,)/g, "0").trimEnd();
    const host = { name: "sqlite-1", source: defaults.source, target: defaults.target, release: "bookworm" } as const;
    const arrived = { database: "customers.sqlite", rows: 1, milliseconds: 1000 };
    const today = [
      "$ npm start",
      "Making sqlite-1 (Debian bookworm)",
      "Booting sqlite-1",
      announcement(host.name),
      ...account(host, arrived, "5 created", "2.2.3"),
      "",
      ending(1000),
    ];
    expect(linesOfSvg(pictureOf("start")).map(form)).toEqual(today.map(form));
  });

  it("an alert: the sample in docs/alerts-samples.md, which programs/alerts-samples compares with the program", async () => {
    expect(pictureOf("alert")).toBe(await alertSvg());
  });

  it("a preview", () => {
    const report = shownReport();
    const printed = `${changesText(report, true)}\n\n${report.stack}: ${summary(report)}`;
    const today = terminalSvg(screen(`npm run preview -- --stack ${shownStack}`, excerpt(printed)));
    expect(formOfPicture(pictureOf("preview"))).toEqual(formOfPicture(today));
  });

  it("the comment of a pull request", () => {
    expect(formOfPicture(pictureOf("comment"))).toEqual(formOfPicture(commentSvg(comment([shownReport()]))));
  });

  it("the status of a fleet", () => {
    const today = screen(`npm run status -- --stack ${shownStack}`, statusText(hosts.map(shownStatus)));
    expect(formOfPicture(pictureOf("status"))).toEqual(formOfPicture(terminalSvg(today)));
  });
});

it("a picture has the colours of the output, and its XML characters are escaped", () => {
  const svg = terminalSvg("\x1b[38;5;2m+ <a> & b\x1b[0m rest");
  expect(svg).toContain('<tspan class="green">+ &lt;a&gt; &amp; b</tspan> rest</text>');
  expect(linesOfSvg(svg)).toEqual(["+ <a> & b rest"]);
});
