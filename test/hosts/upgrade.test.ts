import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { markJournal, sshSince, watchSshd } from "../../tools/bench/deploy/hosts";
import { run } from "../../toolchain/run";
import { faultsOf } from "../support/activation";
import { on, prepare, succeeded, type Deployment } from "../support/deployment";
import { fill, identical, mirrors } from "../support/faults";

jest.setTimeout(400_000);

// The last version with a resource for each managed file.
const before = "a89e4cc";

const root = resolve(__dirname, "../..");
const git = (...args: string[]) => run("git", args, { cwd: root });

let d: Deployment;
/** That version, checked out. */
let program: string;

beforeAll(async () => {
  d = await prepare("upgrade");
  program = join(await mkdtemp(join(tmpdir(), "lsyncd-as-code-test-")), "program");
  await git("worktree", "add", "--detach", program, before);
  await symlink(join(root, "node_modules"), join(program, "node_modules"));
  await watchSshd(d.host);
  await fill(d.host);
});
afterAll(async () => {
  await git("worktree", "remove", "--force", program);
  await rm(resolve(program, ".."), { recursive: true });
  await d.remove();
});

const mainPid = () => on(d.host, "systemctl show -p MainPID --value lsyncd");

interface Deployed {
  checkpoint: { latest: { resources: { urn: string; inputs?: object }[] } };
}
const deployed = async (): Promise<string[]> => {
  const { checkpoint } = JSON.parse(await d.stack.state()) as Deployed;
  return checkpoint.latest.resources
    .map(({ urn }) => urn.split("::").at(-1) ?? "")
    .filter((name) => name.startsWith("sqlite-1"));
};

/** Deploys, and returns the number of commands that ran on the host. */
async function up(): Promise<{ text: string; sessions: number }> {
  const mark = await markJournal(d.host);
  const text = succeeded(await d.stack.up());
  return { text, sessions: (await sshSince(d.host, mark)).sessions };
}

it("upgrading a stack of that version undeploys nothing, and runs none of its old commands", async () => {
  // With files that contain secrets, and one that the next version renames.
  await d.configure({ heartbeatUrl: "https://hc.example.com/ping/secret" });
  succeeded(await d.sameStack(program).up());
  expect((await deployed()).filter((name) => name.includes("-file-")).length).toBeGreaterThan(20);
  await mirrors(d.host);
  // A killed copy, and a killed verification of that version.
  await on(
    d.host,
    `cd ${d.host.target} && mkdir -m 700 -p .lsyncd-rsync.private .lsyncd-rsync.verify && touch .lsyncd-rsync.private/copy.999999.1 .lsyncd-rsync.verify/image`,
  );
  // Every removal is recorded there, and lsyncd is watched as well.
  await on(
    d.host,
    `systemd-run --quiet --unit=watch sh -c 'while :; do ls /var/lib/lsyncd-as-code/manifest /etc/lsyncd/lsyncd.conf.lua >/dev/null 2>>/tmp/gone; sleep 0.05; done'`,
  );

  const preview = succeeded(await d.stack.preview());
  expect(preview).not.toMatch(/\d+ to (delete|replace)/);
  const first = await up();
  expect(first.text).not.toMatch(/\d+ (deleted|replaced)/);
  // The inspection, the preflight, the packages if their command differs, and the activation.
  expect(first.sessions).toBeLessThanOrEqual(4);
  expect(await faultsOf(d.host)).toBe("");
  await mirrors(d.host);
  await identical(d.host);
  expect(await on(d.host, `ls -A -I '.lsyncd-wait.*' ${d.host.target}`)).toBe(
    ".lsyncd-as-code\nalive\nlogs\nlost+found\nmail",
  );

  const pid = await mainPid();
  const second = await up();
  // The remaining files leave the state, and only the inspection runs.
  expect(second.sessions).toBe(1);
  expect(await deployed()).toEqual(
    expect.arrayContaining(["sqlite-1", "sqlite-1-preflight", "sqlite-1-packages", "sqlite-1-activation"]),
  );
  expect(await deployed()).toHaveLength(4);
  const third = await up();
  expect(third.text).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
  expect(third.sessions).toBe(1);
  expect(await mainPid()).toBe(pid);
  expect(await on(d.host, "systemctl stop watch; cat /tmp/gone")).toBe("");
  expect(await faultsOf(d.host)).toBe("");
});

it("the upgraded stack can be undeployed, and nothing is left", async () => {
  succeeded(await d.stack.destroy());
  expect(
    await on(d.host, "ls /etc/lsyncd /usr/local/lib/lsyncd-as-code .lsyncd-as-code 2>/dev/null; pgrep -x lsyncd; true"),
  ).toBe("");
  expect(await on(d.host, "ls /var/lib/lsyncd-as-code")).toBe("volumes");
});
