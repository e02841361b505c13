import { readFile } from "node:fs/promises";
import { execOn, type Release, type SandboxHost } from "../../tools/sandbox";
import type { Finished } from "../../toolchain/run";
import type { Extra } from "../../tools/stack";
import { failed, hostAt, on, prepare, succeeded, type Deployment } from "./deployment";
import { runTool } from "./tools";

// Characters that are special to a shell, with a word to search for: one password is in the settings, one is entered.
const [word, askedWord, wrongWord] = ["bat7ery-st4ple", "tr0ub4dor-3", "wr0ng-one"] as const;
const password = `correct 'horse' $${word}`;
const asked = `asked "for" \\ ${askedWord}`;
/** How the hosts of this test become root, and the preparation of each before the first deployment. */
export interface Arrangement {
  release: Release;
  /** Lines for the sudoers file of the third host, with each newline escaped. */
  sudoers: string;
  arrange: (host: SandboxHost) => Promise<void>;
}

/** Users that become root: without a password, with a configured one, and with an entered one. */
export function testSudo({ release, sudoers, arrange }: Arrangement): void {
  jest.setTimeout(400_000);

  let d: Deployment;
  const host = (number: number): SandboxHost => hostAt(d, number);

  beforeAll(async () => {
    d = await prepare("sudo", { hosts: 4, volumeSizeMb: 64, release });
    const all = d.hosts.map(async (one, index) => {
      await on(one, `echo mail >${one.source}/mail`);
      // sudo's default, and its opposite.
      const defaults = index === 2 ? sudoers : "";
      await execOn(
        one,
        `useradd --create-home --shell /bin/bash --groups sudo deploy && chpasswd
       mkdir /home/deploy/.ssh && cp /root/.ssh/authorized_keys /home/deploy/.ssh/ && chown -R deploy: /home/deploy/.ssh
       printf '%b' '${defaults}' >/etc/sudoers.d/matrix`,
        { input: `deploy:${index === 3 ? asked : password}\n` },
      );
      await arrange(one);
    });
    await Promise.all(all);
  });
  afterAll(async () => {
    await d.remove();
  });

  const deployed = async (one: SandboxHost): Promise<boolean> =>
    (await on(one, "systemctl is-active lsyncd 2>/dev/null || true")) === "active";

  /** All places on a host where a password could be left, as far as root can look. */
  const places = "/etc /home /root /run /tmp /var";

  /** Looks for the password in all process lists and environments of a host until `work` ends. */
  async function watching(one: SandboxHost, work: Promise<Finished>): Promise<{ finished: Finished; seen: string }> {
    await on(one, "rm -f /root/stop /root/seen");
    const watch = execOn(
      one,
      `n=0; until [ -e /root/stop ]; do
       n=$((n + 1)); for f in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do tr '\\0' ' ' <$f; echo; done 2>/dev/null | grep -aE '${word}|${askedWord}' | grep -v grep
       sleep 0.05; done; echo "looked $n times" >&2`,
      { timeoutMs: 300_000 },
    );
    const finished = await work;
    await on(one, "touch /root/stop");
    const { stdout, stderr } = await watch;
    expect(Number(/looked (\d+) times/.exec(stderr)?.[1])).toBeGreaterThan(20);
    return { finished, seen: stdout };
  }

  async function leftOn(one: SandboxHost): Promise<string> {
    const found = await execOn(
      one,
      `grep -rIlE '${word}|${askedWord}' ${places} 2>/dev/null; journalctl --no-pager | grep -E '${word}|${askedWord}'`,
      {
        allowFailure: true,
      },
    );
    return found.stdout;
  }

  /** Passwords are set as an operator sets them, so that they are secrets. */
  async function configure(settings: Extra, third: string, fourth?: string): Promise<void> {
    await d.configure(settings, {
      "sqlite-2": { user: "admin" },
      "sqlite-3": { user: "deploy" },
      "sqlite-4": { user: "deploy" },
    });
    for (const [index, value] of [third, fourth].entries()) {
      if (value === undefined) continue;
      const key = `lsyncd:hosts[${index + 2}].becomePassword`;
      await d.stack.pulumi(["config", "set", "--secret", "--path", key], { input: value });
    }
  }

  /** The number of wrong passwords that sudo on a host received. */
  const refusals = async (one: SandboxHost): Promise<number> =>
    Number(await on(one, "journalctl --no-pager | grep -c 'authentication failure' || true"));

  it("deploys as root, with sudo that needs no password and with sudo that does; a wrong password gives one clear line", async () => {
    await configure({}, password, wrongWord);
    // Including its preview: the whole run tries it once.
    const { finished, seen } = await watching(host(3), runTool(d.stack, "cli/pulumi.ts", ["up", "--yes"]));
    const text = failed(finished);
    expect(await Promise.all(d.hosts.map(deployed))).toEqual([true, true, true, false]);

    const refused = text.match(/sudo on sqlite-\d refuses .*/g) ?? [];
    expect(new Set(refused).size).toBe(1);
    expect(refused[0]).toContain("sudo on sqlite-4 refuses the password for deploy. It was tried once");
    // sudo itself tries once: more attempts could lock the account.
    expect(await refusals(host(4))).toBe(1);

    expect(seen).toBe("");
    expect(await leftOn(host(3))).toBe("");
    expect(text).not.toContain(word);
    expect(text).not.toMatch(/lecture|usual lecture|great responsibility/i);
    const state = await d.stack.state();
    expect(state).not.toContain(word);
    expect(state).not.toContain(wrongWord);
    // Not even encrypted: the program passes on root's rights, and no command contains the password.
    const { stdout: exported } = await d.stack.pulumi(["stack", "export", "--show-secrets"]);
    expect(exported).not.toMatch(new RegExp(`${word}|${wrongWord}`));
    expect(await on(host(3), "ls /run/lsyncd-as-code/*deploy* 2>/dev/null || echo gone")).toBe("gone");
  });

  it("tries a shared password on one host first, and after a refusal on no other", async () => {
    await configure({ delay: 2 }, wrongWord, wrongWord);
    const before = (await refusals(host(3))) + (await refusals(host(4)));
    const text = failed(await runTool(d.stack, "cli/pulumi.ts", ["up", "--yes"]));
    expect((await refusals(host(3))) + (await refusals(host(4))) - before).toBe(1);
    const [by] = /(?<=sudo on )sqlite-[34](?= refuses the password for deploy)/.exec(text) ?? [];
    const other = by === "sqlite-3" ? "sqlite-4" : "sqlite-3";
    expect(text).toContain(`${other} was skipped, its preflight was not run: sudo on ${by} refuses the same password`);
    for (const name of ["sqlite-3", "sqlite-4"]) expect(text).toMatch(new RegExp(`${name}-preflight\\):\\s+error`));
    // The others have their new state.
    for (const one of [host(1), host(2)])
      expect(await on(one, "grep -c 'delay *= 2' /etc/lsyncd/lsyncd.conf.lua")).toBe("1");
  });

  it("fails a preview, and a run of the engine alone, before anything else is tried", async () => {
    const before = (await refusals(host(3))) + (await refusals(host(4)));
    const preview = failed(await d.stack.preview());
    expect(preview).toMatch(/error: sqlite-[34] was skipped, its preflight was not run: sudo on sqlite-[34] refuses/);
    expect(failed(await d.stack.up([]))).not.toMatch(/Updating/);
    expect((await refusals(host(3))) + (await refusals(host(4))) - before).toBe(2);
  });

  it("shows a file's changed lines in a preview although a password is set, and not the password", async () => {
    await configure({ delay: 7 }, password, asked);
    const text = succeeded(await d.stack.preview());
    expect(text).toMatch(/-\s+delay\s+= 1,/);
    expect(text).toMatch(/\+\s+delay\s+= 7,/);
    expect(text).toContain("Preflight passed on sqlite-3");
    expect(text).not.toMatch(/bat7ery|tr0ub4dor/);
  });

  describe("--ask-become-pass", () => {
    it("stops at the first host that refuses the password", async () => {
      await configure({}, password);
      const before = await refusals(host(4));
      const text = failed(await runTool(d.stack, "cli/pulumi.ts", ["up", "--yes", "-K"], { input: "wrong\n" }));
      expect(text).toContain("sudo on sqlite-4 refuses the password for deploy");
      expect(text).not.toMatch(/Previewing|Updating/);
      expect((await refusals(host(4))) - before).toBe(1);
    });

    it("says what to do when the flag is missing", async () => {
      const text = failed(await d.stack.up(["--skip-preview", "--continue-on-error"]));
      expect(text).toContain(
        "sudo on sqlite-4 asks deploy for a password. Run it with: npm run up -- --ask-become-pass",
      );
    });

    it("deploys, leaves the password nowhere, and the next run changes nothing", async () => {
      // The engine's log contains everything it knows, including secrets: this password is not among them.
      const args = ["up", "--yes", "--skip-preview", "--ask-become-pass", "--logtostderr", "--verbose=9"];
      const { finished, seen } = await watching(
        host(4),
        runTool(d.stack, "cli/pulumi.ts", args, { input: `${asked}\n` }),
      );
      const text = succeeded(finished);
      expect(await deployed(host(4))).toBe(true);
      expect(seen).toBe("");
      expect(await leftOn(host(4))).toBe("");
      expect(text).not.toContain(askedWord);
      expect(await d.stack.state()).not.toContain(askedWord);
      expect((await d.stack.pulumi(["stack", "export", "--show-secrets"])).stdout).not.toContain(askedWord);
      expect(await on(host(4), "ls /run/lsyncd-as-code/*deploy* 2>/dev/null || echo gone")).toBe("gone");
      const again = await runTool(d.stack, "cli/pulumi.ts", ["up", "--yes", "-K"], { input: `${asked}\n` });
      expect(succeeded(again)).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
      // Without the flag, the host was not checked.
      expect(failed(await d.stack.up())).toContain("sqlite-4 was skipped, it was not checked");
    });

    it("runs nothing as root except the commands of the run", async () => {
      const { lend } = await import("../../infra/commands");
      const { startRemote } = await import("../../infra/ssh");
      const { address, port, hostKey, privateKeyPath } = host(4);
      const connection = {
        host: address,
        port,
        user: "deploy",
        hostKey,
        privateKey: await readFile(privateKeyPath, "utf8"),
      };
      const { command, stdin } = lend({ name: "sqlite-4", user: "deploy" }, asked, ["0".repeat(64)]);
      const lender = await startRemote(connection, command);
      lender.channel.write(stdin);
      let said = "";
      await new Promise<void>((resolve) =>
        lender.channel.on("data", (data: Buffer) => {
          said += data.toString();
          if (/^ready$/m.test(said)) resolve();
        }),
      );
      const { asRoot } = await import("../../infra/commands");
      const { runRemote } = await import("../../infra/ssh");
      const other = asRoot({ name: "sqlite-4", user: "deploy" }, "other", "touch /root/owned");
      expect(await runRemote(connection, other.command(), other.stdin)).toMatchObject({
        code: 1,
        stdout: expect.stringContaining("was not announced") as string,
      });
      lender.channel.end();
      await new Promise((resolve) => lender.channel.on("close", resolve));
      lender.close();
      expect(await on(host(4), "ls /root/owned /run/lsyncd-as-code/*deploy* 2>/dev/null || echo none")).toBe("none");
    });

    it("undeploys", async () => {
      const args = ["destroy", "--yes", "--skip-preview", "--ask-become-pass"];
      succeeded(await runTool(d.stack, "cli/pulumi.ts", args, { input: `${asked}\n` }));
      expect(await Promise.all(d.hosts.map(deployed))).toEqual([false, false, false, false]);
      expect(await on(host(4), "ls /etc/lsyncd 2>/dev/null || echo gone")).toBe("gone");
    });
  });
}
