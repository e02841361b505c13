import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run, type Finished } from "../../toolchain/run";
import { commentSvg } from "../../tools/docs/comment-svg";
import { shownHosts } from "../../tools/docs/screens";
import { takeShots, type Shots } from "../../tools/docs/shots";
import { terminalSvg } from "../../tools/docs/svg";
import { powerOff } from "../../tools/sandbox";
import { copyRepository } from "../support/clone";
import { prepare, succeeded, type Deployment } from "../support/deployment";
import { formOfPicture, pictureOf } from "../support/pictures";

jest.setTimeout(300_000);

const heartbeat = (word: string) => `https://hc.example.com/ping/${word}`;

let d: Deployment;
let directory: string;
/** A working copy of the program whose templates can be changed. */
let copy: string;

const folder = () => dirname(d.stack.configFile);
const name = () => d.name;
const state = () => join(folder(), "state");
const environment = () => {
  // The user's own ssh-agent is not meant for a sandbox.
  return {
    ...process.env,
    SSH_AUTH_SOCK: undefined,
    PULUMI_BACKEND_URL: `file://${state()}`,
    PULUMI_CONFIG_PASSPHRASE: "sandbox",
  };
};

/** Runs `npm run preview` in the working copy. The state is read-only, which is enough for a preview. */
async function preview(...args: string[]): Promise<Finished & { markdown: string }> {
  const markdown = join(directory, "comment.md");
  const readOnly = 'mount --bind "$STATE" "$STATE" && mount -o remount,ro,bind "$STATE" && exec "$@"';
  const finished = await run(
    "unshare",
    [
      ...(process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"]),
      ...["--mount", "sh", "-c", readOnly, "sh", process.execPath, "--import", "tsx", "cli/preview.ts"],
      ...["--config-file", d.stack.configFile, "--stack", name(), "--markdown", markdown, ...args],
    ],
    { cwd: copy, allowFailure: true, env: { ...environment(), STATE: state() } },
  );
  return { ...finished, markdown: await readFile(markdown, "utf8") };
}

/** Replaces everything that differs from run to run. */
const stable = (text: string) =>
  text
    .replaceAll(name(), "sqlite-prod")
    .replaceAll(/127\.\d+\.\d+\.\d+(:\d+)?/g, "192.0.2.1")
    // The durations that the hosts recorded.
    .replaceAll(/about \d+ s( to \d+ s)?(?= \|)/g, "about 1 s")
    // Its warnings depend on this machine.
    .replace(/(The preflight warns about .*\n\n```text\n)[^]*?\n```/, "$1…\n```");

beforeAll(async () => {
  d = await prepare("preview", { hosts: shownHosts });
  await d.configure({ heartbeatUrl: heartbeat("first") });
  succeeded(await d.stack.up());
  directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-test-"));
  copy = join(directory, "program");
  await copyRepository(copy, (file) => !file.startsWith("test/"));
});
afterAll(async () => {
  await d.remove();
  await rm(directory, { recursive: true, force: true });
});

async function edit(template: string, from: string, to: string): Promise<void> {
  const path = join(copy, "templates", template);
  const before = await readFile(path, "utf8");
  expect(before).toContain(from);
  await writeFile(path, before.replace(from, to));
}

it("reports no changes when there are none", async () => {
  const { code, markdown } = await preview();
  expect(code).toBe(0);
  expect(markdown).toContain("3 hosts: 3 unchanged.\n");
  expect(markdown).toContain("| sqlite-1 … sqlite-3 (3 hosts) | nothing | nothing | - | passed");
});

describe("the pictures in docs/screens", () => {
  let shots: Shots;
  beforeAll(async () => {
    shots = await takeShots(name(), d.stack, d.hosts);
  });

  it.each([
    ["status", () => terminalSvg(shots.status)],
    ["preview", () => terminalSvg(shots.preview)],
    ["comment", () => commentSvg(shots.comment)],
  ] as const)("%s.svg shows the current output; to draw it again: npm run docs -- --screens", (file, now) => {
    expect(formOfPicture(pictureOf(file))).toEqual(formOfPicture(now()));
  });
});

it("writes the comment of a changed template: lines, restarts, preflight, and nothing that is secret", async () => {
  await edit("etc/lsyncd/lsyncd.conf.lua.hbs", "-- However lsyncd", "-- By whatever way lsyncd");
  await edit("usr/local/lib/lsyncd-as-code/lsyncd-release", "Nothing is held back.", "Nothing is held.");
  await d.configure({ heartbeatUrl: heartbeat("second") }, { "sqlite-3": { delay: 5 } });
  const [, , third] = d.hosts;
  if (third) await powerOff(third);

  const { code, markdown, stdout, stderr } = await preview();
  expect(code).toBe(0);
  expect(stable(markdown)).toMatchSnapshot();
  for (const secret of [heartbeat("first"), heartbeat("second"), "PRIVATE KEY"])
    expect(`${markdown}${stdout}${stderr}`).not.toContain(secret);
});

it("names the host that would be removed", async () => {
  await d.configure({ heartbeatUrl: heartbeat("second") }, {}, d.hosts.slice(0, 2));
  const { code, markdown } = await preview();
  expect(code).toBe(0);
  expect(markdown).toMatch(/^\| sqlite-3 \| \*\*removed\*\*.* \| lsyncd stops \| - \| not needed \|$/m);
});

it("fails if a preflight refuses, and the comment gives the reason", async () => {
  const elsewhere = { "sqlite-2": { target: "/mnt/elsewhere" } };
  await d.configure({ heartbeatUrl: heartbeat("second") }, elsewhere, d.hosts.slice(0, 2));
  const { code, markdown } = await preview();
  expect(code).not.toBe(0);
  expect(markdown).toMatch(/^\| sqlite-2 \|.*\*\*refused\*\* \|$/m);
  expect(markdown).toContain("The target /mnt/elsewhere does not exist.");
  expect(markdown).toMatch(/^\| sqlite-1 \|.*passed/m);
});
