import * as commands from "../../infra/commands";
import { engineArguments } from "../../cli/become/arguments";
import { borrowers } from "../../cli/become/borrowers";
import { connections } from "../../infra/connection";
import { renderFiles } from "../../infra/files";
import { entry, hostKey, hostOf, settingsOf } from "./support/settings";

const deploy = { name: "sqlite-1", user: "deploy" };

describe("root's rights", () => {
  it("root needs no wrapper", () => {
    expect(commands.asRoot({ name: "a", user: "root" }, "look", "id\n")).toMatchObject({ stdin: "id\n" });
  });

  it("other users run commands through the wrapper; neither the command nor its text contains a password", () => {
    const host = hostOf({ user: "deploy", becomePassword: "s3cret" });
    const identity = { stack: "organization/lsyncd/prod", host };
    const files = renderFiles(host);
    const all = [
      commands.preflight(identity, files),
      commands.installPackages(identity),
      commands.activate(identity, files),
      commands.look(identity, []),
      commands.status(host),
    ];
    for (const { create, delete: remove, stdin } of all) {
      expect([create, remove, stdin].join()).not.toContain("s3cret");
      expect([create, commands.announcement(create, stdin)]).toEqual([create, expect.stringMatching(/^[0-9a-f]{64}$/)]);
    }
    expect(commands.asRoot(deploy, "look", "id\n").command("at", "it")).toBe("bash -s -- look at it");
  });

  it("a command is allowed by the digest of its arguments and its text", () => {
    const { command, stdin } = commands.asRoot(deploy, "look", "id\n");
    const digest = commands.announcement(command("a"), stdin);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(commands.announcement(command("b"), stdin)).not.toBe(digest);
    expect(commands.announcement(command("a"), `${stdin}rm -rf /\n`)).not.toBe(digest);
    expect(commands.announcement("sh -c true", "text")).toBeUndefined();
  });

  it("the password and the digests go through standard input only, and the password is unquoted", () => {
    const { command, stdin } = commands.lend(deploy, "it's", ["0".repeat(64)]);
    expect(command).toBe("bash -s -- lend /run/lsyncd-as-code/root-for-deploy deploy");
    // Quoted, it would be another text than the secret that the engine takes out of its log.
    expect(stdin.startsWith("IFS= read -r PASSWORD\nit's\n")).toBe(true);
    expect(stdin.endsWith(`\0${"0".repeat(64)}\n`)).toBe(true);
  });
});

describe("hosts that need sudo", () => {
  const hosts = [
    { ...entry, user: "deploy" },
    { ...entry, name: "root", address: "192.0.2.12", hostKey: `${hostKey}A` },
    { ...entry, name: "known", address: "192.0.2.13", hostKey: `${hostKey}B`, user: "deploy", becomePassword: "p" },
  ];
  const settings = settingsOf({ hosts });
  const reach = connections(settings, () => undefined);

  it("a host whose user is not root uses its own password, or the one the operator enters", () => {
    const none = { deployment: null };
    const with_ = (asked?: string) =>
      borrowers(settings, reach, "organization/lsyncd/prod", none, asked).map(({ name, password }) => [name, password]);
    expect(with_()).toEqual([["known", "p"]]);
    expect(with_("q")).toEqual([
      ["sqlite-1", "q"],
      ["known", "p"],
    ]);
    const found = borrowers(settings, reach, "organization/lsyncd/prod", none, "q");
    const identity = { stack: "organization/lsyncd/prod", host: settings.hosts[0] ?? ({} as never) };
    const { create, delete: remove = "", stdin } = commands.installPackages(identity);
    expect(found[0]?.digests).toContain(commands.announcement(create, stdin));
    expect(found[0]?.digests).toContain(commands.announcement(remove, stdin));
    expect(found[0]?.digests).toContain(commands.announcement(commands.becauseOf(create, "20260102T030405Z"), stdin));
  });

  it("hosts that are only in the state are included, because a run may have to undeploy them", () => {
    const connection = { host: "192.0.2.99", port: 22, user: "deploy", hostKey: entry.hostKey };
    const { command, stdin } = commands.asRoot({ name: "gone", user: "deploy" }, "activate", "id\n");
    const exported = {
      deployment: {
        resources: [
          {
            urn: "urn:pulumi:prod::lsyncd::command:remote:Command::gone-activation",
            inputs: {
              connection: { "4dabf18193072939515e22adb298388d": "x", plaintext: JSON.stringify(connection) },
              delete: command("remove"),
              stdin,
            },
          },
          { urn: "urn:pulumi:prod::lsyncd::pulumi:pulumi:Stack::x" },
        ],
      },
    };
    const found = borrowers(settings, reach, "organization/lsyncd/prod", exported, "q");
    expect(found.map(({ connection: { host } }) => host)).toEqual(["192.0.2.11", "192.0.2.13", "192.0.2.99"]);
    expect(found[2]?.digests).toEqual([commands.announcement(command("remove"), stdin)]);
  });
});

describe("the arguments of npm run up", () => {
  it("include the engine's --continue-on-error", () => {
    expect(engineArguments(["up", "--yes", "-s", "prod"])).toEqual({
      targets: [],
      args: ["up", "--continue-on-error", "--yes", "-s", "prod"],
      askBecomePass: false,
      name: { stack: "prod", configFile: undefined },
    });
    expect(engineArguments(["preview", "--stack=prod"]).args).toEqual(["preview", "--stack=prod"]);
    expect(engineArguments(["up", "--continue-on-error=false"]).args).toEqual(["up", "--continue-on-error=false"]);
  });

  it.each(["--ask-become-pass", "-K"])("hold %s, which the engine does not know", (flag) => {
    const { args, askBecomePass } = engineArguments(["destroy", flag, "--config-file", "x.yaml"]);
    expect(args).toEqual(["destroy", "--continue-on-error", "--config-file", "x.yaml"]);
    expect(askBecomePass).toBe(true);
  });
});
