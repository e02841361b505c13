import { activate, installPackages, leaveWaivers, preflight, type HostCommand } from "../../infra/commands";
import { sourceOf } from "../../infra/render";
import { partsOf, scriptOf } from "../../infra/commands/bundle";
import { fragment } from "../../infra/commands/script";
import type { HostSettings } from "../../infra/config";
import { renderFiles, type RenderedFile } from "../../infra/files";
import { installTime, needPrograms } from "../support/programs";
import { admittedHost, assertBatch } from "./support/arbitraries";
import * as language from "./support/languages";
import { languageOf, written, type Language, type Written } from "./support/templates";
import { verifyUnits } from "../../tools/lint/units";

// Files rendered with any settings that the schema admits: each is whole for the program that reads it, and that program reads
// the value back.

beforeAll(() => needPrograms("lua5.3", "bash", "systemd-analyze", "systemd-escape"), installTime);

interface Case {
  host: HostSettings;
  files: RenderedFile[];
}

async function forAnyHost(check: (cases: Case[]) => Promise<void>): Promise<void> {
  await assertBatch(admittedHost, (hosts) => check(hosts.map((host) => ({ host, files: renderFiles(host) }))));
}

const filesIn = (cases: Case[], language: Language): { host: HostSettings; file: RenderedFile }[] =>
  cases.flatMap(({ host, files }) =>
    files
      // Files that are the same on all hosts contain no values.
      .filter((file) => sourceOf(file.path).rendered && languageOf(file) === language)
      .map((file) => ({ host, file })),
  );

const writtenIn = (cases: Case[], language: Language, helper: string): Written[] =>
  filesIn(cases, language).flatMap(({ host, file }) => written(file, host, helper));

it("the lsyncd configuration sets all settings in lsyncd", async () => {
  await forAnyHost(async (cases) => {
    const read = await language.evaluateLua(filesIn(cases, "lua").map(({ file }) => file.content));
    expect(read).toEqual(
      cases.map(({ host }) => ({
        commands: ["/usr/local/lib/lsyncd-as-code/lsyncd-guard"],
        files: ["/usr/local/lib/lsyncd-as-code/lsyncd-log.lua", "/usr/local/lib/lsyncd-as-code/lsyncd-delays.lua"],
        settings: expect.objectContaining({
          logfile: "/var/log/lsyncd/lsyncd.log",
          statusFile: "/var/log/lsyncd/lsyncd.status",
        }) as unknown,
        sync: expect.objectContaining({
          source: host.source,
          target: host.target,
          delay: host.delay,
          rsync: {
            binary: "/usr/local/lib/lsyncd-as-code/rsync-wrapper",
            archive: true,
            compress: host.compress,
            whole_file: host.wholeFile,
            _extra: host.wholeFile ? host.rsyncOptions : ["--no-whole-file", ...host.rsyncOptions],
          },
        }) as unknown,
      })),
    );
  });
});

it("shell files parse, and the shell reads the settings back", async () => {
  await forAnyHost(async (cases) => {
    await language.parseShell(filesIn(cases, "shell").map(({ file }) => file.content));

    const lines = writtenIn(cases, "shell", "sh").filter(({ before }) => /^\w+=\(?$/.test(before));
    const read = await language.evaluateShell(
      lines.map(({ before, text }) => ({
        text: `${before}${text}${before.endsWith("(") ? ")" : ""}`,
        variable: before.replace(/=\(?$/, ""),
      })),
    );
    expect(read).toEqual(lines.map(({ values }) => values));
    expect(lines.filter(({ before }) => before.startsWith("backlog_limit="))).toHaveLength(cases.length);
  });
});

it("no Perl program is rendered: they are the same on every host", async () => {
  await forAnyHost((cases) => {
    expect(filesIn(cases, "perl").map(({ file }) => file.path)).toEqual([]);
    return Promise.resolve();
  });
});

it("units pass systemd's checks and name the volumes' mount units as systemd does", async () => {
  await forAnyHost(async (cases) => {
    const units = cases.map(({ files }) => files.filter((file) => languageOf(file) === "unit"));
    expect(await verifyUnits(units)).toEqual([]);

    const orders = filesIn(cases, "unit")
      .filter(({ file }) => file.path.endsWith("/override.conf"))
      .map(({ file }) => /^After=(.*)$/m.exec(file.content)?.[1]?.split(" "));
    const names = await language.systemdMountUnits(cases.flatMap(({ host }) => [host.source, host.target]));
    expect(orders.flat()).toEqual(names);
  });
});

it("commands parse, and the shell reads the settings back", async () => {
  await forAnyHost(async (cases) => {
    const commands = cases.flatMap(({ host, files }): { command: HostCommand; values: Record<string, string> }[] => {
      // With a key, and without the texts of files, which the tests above read: it is quicker.
      const identity = { stack: "organization/lsyncd/test", host: { ...host, privateKey: "k" } };
      const named = files.map((file) => ({ ...file, content: "" }));
      const { source: SOURCE, target: TARGET } = host;
      return [
        { command: preflight(identity, named), values: { SOURCE, TARGET, HOST: host.name } },
        { command: installPackages(identity), values: { HOST: host.name } },
        { command: activate(identity, named), values: { SOURCE, TARGET } },
        {
          command: leaveWaivers(identity, "0123456789ab", ["LSYNCD_SKIP_SAFETY"]),
          values: { WAIVERS: "LSYNCD_SKIP_SAFETY" },
        },
      ];
    });
    const textOf = ({ stdin }: HostCommand): string => {
      const parts = partsOf(stdin);
      return parts ? scriptOf(parts) : stdin;
    };
    await language.parseShell(commands.map(({ command }) => textOf(command)));

    const head = (script: string): string => script.split("\n\n")[0] ?? "";
    const asked = commands.flatMap(({ command, values }) =>
      Object.entries(values).map(([variable, value]) => ({ text: head(textOf(command)), variable, value })),
    );
    expect(await language.evaluateShell(asked)).toEqual(asked.map(({ value }) => [value]));
    // Only assignments come before the files of infra/commands.
    expect(commands[0]?.command.stdin).toContain(`\n\n${fragment("volume.sh")}`);
  });
});
