import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as commands from "../../infra/commands";
import { partsOf } from "../../infra/commands/bundle";
import { script } from "../../infra/commands/script";
import { renderFiles, type RenderedFile } from "../../infra/files";
import { entry, hostile, hostOf, settingsOf } from "./support/settings";

const identity = { stack: "organization/lsyncd/prod", host: hostOf() };
const asUser = { ...identity, host: hostOf({ user: "deploy" }) };
const files = renderFiles(identity.host);

/** The variable assignments at the start of a script. */
const head = ({ stdin }: commands.HostCommand): string[] =>
  (partsOf(stdin)?.settings ?? stdin).split("\n\n")[0]?.split("\n") ?? [];

describe("a command's text is short and contains no settings", () => {
  it("as root", () => {
    expect(commands.preflight(identity, files).create).toBe(`bash -c 'eval "$(cat)"' preflight`);
    expect(commands.leaveWaivers(identity, "0123456789ab", ["LSYNCD_SKIP_SAFETY"]).create).toBe(
      `bash -c 'eval "$(cat)"' waive`,
    );
    expect(commands.installPackages(identity)).toMatchObject({
      create: `bash -c 'eval "$(cat)"' packages`,
      delete: `bash -c 'eval "$(cat)"' packages remove`,
    });
    const { create, delete: remove } = commands.activate(identity, files);
    expect(create).toMatch(/^perl -e '[^'\n]{1,600}' bash -c 'eval "\$\(cat\)"' activate install$/);
    expect(remove).toBe(create.replace(/install$/, "remove"));
  });

  it("as another user, through the wrapper that gets root's rights", () => {
    const each = [
      commands.preflight(asUser, files),
      commands.leaveWaivers(asUser, "0123456789ab", ["LSYNCD_SKIP_SAFETY"]),
      commands.installPackages(asUser),
      commands.activate(asUser, files),
    ];
    for (const command of each.flatMap(({ create, ...rest }) => [create, ...(rest.delete ? [rest.delete] : [])]))
      expect(command).toMatch(/^(perl -e '[^'\n]+' )?bash -s -- (preflight|waive|packages|activate)( [a-z0-9]+)*$/);
    for (const { stdin } of each) expect(stdin.indexOf("become")).toBeGreaterThan(0);
  });

  it("with names only, whatever the settings are", () => {
    const identity = { stack: "organization/lsyncd/prod", host: hostOf(hostile) };
    const rendered = renderFiles(identity.host);
    const each = [
      commands.preflight(identity, rendered),
      commands.installPackages(identity),
      commands.activate(identity, rendered),
    ];
    for (const { create, ...rest } of each) {
      for (const text of [create, rest.delete ?? ""]) {
        expect(text).not.toContain("/mnt/");
        expect(text).not.toContain(hostile.smtp.password);
        expect(text).not.toContain("/ping/");
      }
    }
  });
});

it("the text of a command, which an error shows, is the same for all secrets of a host", () => {
  const texts = (password: string): unknown => {
    const host = hostOf({ smtp: { ...hostile.smtp, password } });
    const own = { stack: identity.stack, host };
    const rendered = renderFiles(host);
    const each = [commands.preflight(own, rendered), commands.installPackages(own), commands.activate(own, rendered)];
    return each.map(({ create, delete: remove }) => [create, remove]);
  };
  expect(texts("one")).toEqual(texts("another"));
});

describe("preflight", () => {
  it("gets the host, the paths and the place of the waivers", () => {
    expect(head(commands.preflight(identity, files))).toEqual(
      expect.arrayContaining([
        "HOST=sqlite-1",
        "ADDRESS=192.0.2.11",
        "ID=organization/lsyncd/prod/sqlite-1",
        "SOURCE=/mnt/storage_do_1",
        "TARGET=/mnt/storage_do_2",
        "STATE=/var/lib/lsyncd-as-code",
        "WAIVER_FILE=/run/lsyncd-as-code/waivers",
      ]),
    );
  });

  it("runs again when the deployment changes, and at no other time", () => {
    const [first, ...rest] = files as [RenderedFile, ...RenderedFile[]];
    const other = commands.preflight(identity, [{ ...first, content: "x" }, ...rest]);
    expect(other.stdin).not.toBe(commands.preflight(identity, files).stdin);
    expect(commands.preflight(identity, renderFiles(identity.host))).toEqual(commands.preflight(identity, files));
  });

  it("in a preview is part of the inspection, which gets waivers as arguments", () => {
    const { create, stdin } = commands.look(identity, ["LSYNCD_SKIP_SAFETY"]);
    expect(create).toBe(`bash -c 'eval "$(cat)"' look preview LSYNCD_SKIP_SAFETY`);
    expect(stdin).toContain("\ncheck_all() {");
    expect(commands.look(identity).create).toBe(`bash -c 'eval "$(cat)"' look`);
    expect(commands.look(identity).stdin).not.toContain("check_all() {");
  });

  it("does not depend on waivers in other runs, so a run without them shows no change", () => {
    const { create, stdin } = commands.preflight(identity, files);
    expect(create).not.toContain("LSYNCD");
    expect(stdin.split("\n\n")[0]).not.toContain("LSYNCD_");
    expect(head(commands.leaveWaivers(identity, "0123456789ab", ["LSYNCD_SKIP_SAFETY"]))).toEqual([
      "# shellcheck shell=bash",
      "WAIVERS=LSYNCD_SKIP_SAFETY",
      "ID=organization/lsyncd/prod/sqlite-1",
      "DEPLOYMENT=0123456789ab",
      "FILE=/run/lsyncd-as-code/waivers",
      "SOURCE=/mnt/storage_do_1",
      "STATE=/var/lib/lsyncd-as-code",
    ]);
  });
});

describe("packages", () => {
  it("are lsyncd and rsync, plus msmtp if a mail server is set", () => {
    const needs = (settings: Record<string, unknown>) => commands.packages(hostOf(settings)).join(" ");
    const smtp = { host: "smtp.example.com", from: "a@example.com" };
    expect(needs({})).toBe("lsyncd rsync logrotate");
    expect(needs({ smtp: { ...smtp, tls: "off" } })).toBe("lsyncd rsync logrotate msmtp");
    expect(needs({ smtp })).toBe("lsyncd rsync logrotate msmtp ca-certificates");
    expect(needs({ smtp: { ...smtp, tls: "tls" } })).toBe("lsyncd rsync logrotate msmtp ca-certificates");
    expect(needs({ heartbeatUrl: "http://10.0.0.1/x" })).toBe("lsyncd rsync logrotate curl");
    expect(needs({ heartbeatUrl: "https://example.com/x" })).toBe("lsyncd rsync logrotate curl ca-certificates");
    expect(head(commands.installPackages(identity))).toContain("PACKAGES='lsyncd rsync logrotate'");
  });
});

describe("activation", () => {
  const command = commands.activate(identity, files);

  it("gets the manifest to compare with and the folder of the uploaded files", () => {
    expect(head(command)).toEqual(
      expect.arrayContaining([
        "HOST=sqlite-1",
        "ID=organization/lsyncd/prod/sqlite-1",
        "CONFIG=/etc/lsyncd/lsyncd.conf.lua",
        "LOG=/var/log/lsyncd/lsyncd.log",
        "KEPT=/var/lib/lsyncd-as-code/kept",
        "STAGED=.lsyncd-as-code/staged/organization/lsyncd/prod/sqlite-1",
      ]),
    );
    const catalogue = /^CATALOGUE='([^']*)'$/m.exec(partsOf(command.stdin)?.catalogue ?? "")?.[1]?.split("\n");
    expect(catalogue).toEqual(files.map(({ mode, restart, path }) => `${mode} ${restart} sent ${path}`));
  });

  it("gets each file under its path, so that a preview shows its lines", () => {
    const parts = partsOf(command.stdin);
    for (const { path, content } of files) expect(parts?.[path]).toBe(content);
  });

  it("runs again when only a secret file changes, and no visible input reveals the secret", () => {
    const of = (heartbeatUrl: string, privateKey?: string) => {
      const host = { ...hostOf({ heartbeatUrl }), ...(privateKey === undefined ? {} : { privateKey }) };
      return commands.activate({ ...identity, host }, renderFiles(host));
    };
    const [one, other] = [of("https://example.com/ping/1"), of("https://example.com/ping/2")];
    const mark = /SECRETS=[0-9a-f]{16}/;
    expect(one.stdin).toMatch(mark);
    expect(one.stdin).not.toBe(other.stdin);
    expect({ ...one, stdin: one.stdin.replace(mark, "") }).toEqual({ ...other, stdin: other.stdin.replace(mark, "") });
    // With another mark the activation accepts only what is sent again.
    const host = hostOf({ heartbeatUrl: "https://example.com/ping/1" });
    expect(commands.preflight({ ...identity, host }, renderFiles(host)).stdin).toContain(mark.exec(one.stdin)?.[0]);
    // The mark is keyed with a secret, so it cannot be used to test guesses of a password.
    const [a, b] = ["k1", "k2"].map((key) => mark.exec(of("https://example.com/ping/1", key).stdin)?.[0]);
    expect(a).not.toBe(b);
  });

  it("changes with a file's content and mode", () => {
    const [first, ...rest] = files as [RenderedFile, ...RenderedFile[]];
    expect(commands.activate(identity, [{ ...first, content: "x" }, ...rest]).stdin).not.toBe(command.stdin);
    expect(commands.activate(identity, [{ ...first, mode: "0700" }, ...rest]).stdin).not.toBe(command.stdin);
  });

  it("belongs to one stack and one host", () => {
    const other = commands.activate({ ...identity, stack: "organization/lsyncd/test" }, files);
    expect(head(other)).toContain("ID=organization/lsyncd/test/sqlite-1");
  });

  it("contains no secret: the preflight uploads secret files", () => {
    const host = hostOf(hostile);
    const { stdin } = commands.activate({ ...identity, host }, renderFiles(host));
    const text = Object.values(partsOf(stdin) ?? {}).join("");
    expect(text).not.toContain(hostile.smtp.password);
    expect(text).not.toContain("/ping/");
    expect(commands.preflight({ ...identity, host }, renderFiles(host)).stdin).toContain("/ping/");
  });
});

it("no command and no file contains the private key", () => {
  const key = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n";
  const [host = identity.host] = settingsOf({ hosts: [entry], privateKey: key }).hosts;
  const rendered = renderFiles(host);
  const all = [
    commands.preflight({ ...identity, host }, rendered),
    commands.installPackages({ ...identity, host }),
    commands.activate({ ...identity, host }, rendered),
  ];
  expect(JSON.stringify(all)).not.toContain("hunter2");
});

describe("script", () => {
  it("consists of the variables, then the files", () => {
    const text = script({ FILE: "/run/it's here" }, ["waive.sh"]);
    expect(text).toMatch(/^# shellcheck shell=bash\nFILE='\/run\/it'\\''s here'\n\n# /);
  });

  it("refuses a value that a shell variable cannot hold", () => {
    expect(() => script({ A: "a\0b" }, [])).toThrow("NUL");
  });
});

it("no script uses install -T, which rust-coreutils 0.0.30 of Debian 13 lacks", () => {
  const folder = join(__dirname, "../../infra/commands");
  const using = readdirSync(folder).filter((file) =>
    /\binstall\b[^|;&]* -T\b/.test(readFileSync(join(folder, file), "utf8")),
  );
  expect(using).toEqual([]);
});
