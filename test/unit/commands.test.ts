import * as commands from "../../infra/commands";
import { script } from "../../infra/commands/script";
import { digest, renderFiles, type RenderedFile } from "../../infra/files";
import { entry, hostile, hostOf, settingsOf } from "./support/settings";

const identity = { stack: "organization/lsyncd/prod", host: hostOf() };
const asUser = { ...identity, host: hostOf({ user: "deploy" }) };
const files = renderFiles(identity.host);

/** The assignments a script begins with. */
const head = ({ stdin }: commands.HostCommand): string[] => stdin.split("\n\n")[0]?.split("\n") ?? [];

describe("what runs is short and tells nothing of the settings", () => {
  it("as root", () => {
    expect(commands.preflight(identity, "0123456789ab").create).toBe(`bash -c 'eval "$(cat)"' preflight`);
    expect(commands.leaveWaivers(identity, "0123456789ab", ["LSYNCD_SKIP_SAFETY"]).create).toBe(
      `bash -c 'eval "$(cat)"' waive`,
    );
    expect(commands.installPackages(identity)).toMatchObject({
      create: `bash -c 'eval "$(cat)"' packages`,
      delete: `bash -c 'eval "$(cat)"' packages remove`,
    });
    expect(commands.activate(identity, files)).toMatchObject({
      create: `bash -c 'eval "$(cat)"' activate install`,
      delete: `bash -c 'eval "$(cat)"' activate remove`,
    });
  });

  it("for everyone else with what gets root's rights before it", () => {
    const each = [
      commands.preflight(asUser, "0123456789ab"),
      commands.leaveWaivers(asUser, "0123456789ab", ["LSYNCD_SKIP_SAFETY"]),
      commands.installPackages(asUser),
      commands.activate(asUser, files),
    ];
    for (const command of each.flatMap(({ create, ...rest }) => [create, ...(rest.delete ? [rest.delete] : [])]))
      expect(command).toMatch(/^bash -s -- (preflight|waive|packages|activate)( [a-z0-9]+)*$/);
    for (const { stdin } of each) expect(stdin.indexOf("become")).toBeGreaterThan(0);
  });

  it("with nothing but names in it, whatever the settings are", () => {
    const identity = { stack: "organization/lsyncd/prod", host: hostOf(hostile) };
    const rendered = renderFiles(identity.host);
    const each = [
      commands.preflight(identity, "0123456789ab"),
      commands.installPackages(identity),
      commands.activate(identity, rendered),
      ...rendered.map((file) => commands.stage(identity, file)),
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

it("the text of a command, which a failure shows, is the same whatever the secrets of a host are", () => {
  const texts = (password: string): unknown => {
    const host = hostOf({ smtp: { ...hostile.smtp, password } });
    const own = { stack: identity.stack, host };
    const rendered = renderFiles(host);
    const each = [
      commands.preflight(own, digest(rendered)),
      commands.installPackages(own),
      commands.activate(own, rendered),
      ...rendered.map((file) => commands.stage(own, file)),
    ];
    return each.map(({ create, delete: remove }) => [create, remove]);
  };
  expect(texts("one")).toEqual(texts("another"));
});

describe("preflight", () => {
  it("is given the host, the paths and where the waivers would be", () => {
    expect(head(commands.preflight(identity, "0123456789ab"))).toEqual(
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

  it("runs again when the deployment changes, and only then", () => {
    expect(commands.preflight(identity, "a").stdin).not.toBe(commands.preflight(identity, "b").stdin);
    expect(commands.preflight(identity, "a")).toEqual(commands.preflight(identity, "a"));
  });

  it("in a preview is part of the look at the host, told of waivers by its arguments", () => {
    const { create, stdin } = commands.look(identity, ["LSYNCD_SKIP_SAFETY"]);
    expect(create).toBe(`bash -c 'eval "$(cat)"' look preview LSYNCD_SKIP_SAFETY`);
    expect(stdin).toContain("\ncheck_all() {");
    expect(commands.look(identity).create).toBe(`bash -c 'eval "$(cat)"' look`);
    expect(commands.look(identity).stdin).not.toContain("check_all() {");
  });

  it("does not know of waivers otherwise: a run without them shows no change", () => {
    const { create, stdin } = commands.preflight(identity, "a");
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
  it("are lsyncd and rsync, and msmtp for a mail server", () => {
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

describe("stage", () => {
  const file: RenderedFile = {
    name: "x",
    restart: "none",
    secret: false,
    path: "/etc/lsyncd/x.conf",
    mode: "0600",
    content: "hi\n",
  };

  it("writes the file below the login directory, readable for its owner only, without rights of root", () => {
    const put = `'umask 077; mkdir -p "\${1%/*}" && cat >"$1.new" && mv "$1.new" "$1"'`;
    const expected = {
      create: `sh -c ${put} 0600 .lsyncd-as-code/staged/organization/lsyncd/prod/sqlite-1/etc/lsyncd/x.conf`,
      delete: "rm -f .lsyncd-as-code/staged/organization/lsyncd/prod/sqlite-1/etc/lsyncd/x.conf",
      stdin: "hi\n",
    };
    expect(commands.stage(identity, file)).toEqual(expected);
    expect(commands.stage(asUser, file)).toEqual(expected);
  });
});

describe("activation", () => {
  const command = commands.activate(identity, files);

  it("is given what it compares with, and where the files wait", () => {
    expect(head(command)).toEqual(
      expect.arrayContaining([
        "HOST=sqlite-1",
        "ID=organization/lsyncd/prod/sqlite-1",
        "CONFIG=/etc/lsyncd/lsyncd.conf.lua",
        "LOG=/var/log/lsyncd/lsyncd.log",
        "STAGED=.lsyncd-as-code/staged/organization/lsyncd/prod/sqlite-1",
      ]),
    );
    const manifest = /^MANIFEST='([^']*)'$/m.exec(command.stdin)?.[1]?.split("\n");
    expect(manifest?.map((line) => line.split(" ")[3])).toEqual(files.map(({ path }) => path));
  });

  it("changes with a file's content and with its mode", () => {
    const [first, ...rest] = files as [RenderedFile, ...RenderedFile[]];
    expect(commands.activate(identity, [{ ...first, content: "x" }, ...rest]).stdin).not.toBe(command.stdin);
    expect(commands.activate(identity, [{ ...first, mode: "0700" }, ...rest]).stdin).not.toBe(command.stdin);
  });

  it("belongs to a stack and a host: another's is another deployment", () => {
    const other = commands.activate({ ...identity, stack: "organization/lsyncd/test" }, files);
    expect(head(other)).toContain("ID=organization/lsyncd/test/sqlite-1");
  });

  it("holds no text of a file, so no secret", () => {
    const host = hostOf(hostile);
    const { stdin } = commands.activate({ ...identity, host }, renderFiles(host));
    expect(stdin).not.toContain(hostile.smtp.password);
    expect(stdin).not.toContain("/ping/");
  });
});

it("no command and no file holds the private key", () => {
  const key = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n";
  const [host = identity.host] = settingsOf({ hosts: [entry], privateKey: key }).hosts;
  const rendered = renderFiles(host);
  const all = [
    commands.preflight({ ...identity, host }, "a"),
    commands.installPackages({ ...identity, host }),
    commands.activate({ ...identity, host }, rendered),
    ...rendered.map((file) => commands.stage({ ...identity, host }, file)),
  ];
  expect(JSON.stringify(all)).not.toContain("hunter2");
});

describe("script", () => {
  it("is the variables, then the files", () => {
    const text = script({ FILE: "/run/it's here" }, ["waive.sh"]);
    expect(text).toMatch(/^# shellcheck shell=bash\nFILE='\/run\/it'\\''s here'\n\n# /);
  });

  it("refuses what no shell variable can hold", () => {
    expect(() => script({ A: "a\0b" }, [])).toThrow("NUL");
  });
});
