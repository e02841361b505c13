import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { run } from "../../toolchain/run";
import { listSandboxes, sandboxDown, sandboxUp } from "../sandbox";
import { Stack } from "../stack";
import { commentSvg } from "./comment-svg";
import { mailSvg } from "./mail-svg";
import { samplesOf, samplesPage } from "./samples";
import { screen, takeShots } from "./shots";
import { terminalSvg } from "./svg";

const root = resolve(__dirname, "../..");

/** The pictures in the pages: outputs of commands, a mail, and the comment of a pull request. */
export const screens = {
  start: "docs/screens/start.svg",
  preview: "docs/screens/preview.svg",
  status: "docs/screens/status.svg",
  alert: "docs/screens/alert.svg",
  comment: "docs/screens/comment.svg",
} as const;

/** Hosts in the pictures of a fleet. */
export const shownHosts = 3;

/** The picture of an alert, from the sample of one; its text as far as the state of the service. */
export async function alertSvg(): Promise<string> {
  const { alert } = samplesOf(await readFile(join(root, samplesPage), "utf8"));
  if (alert === undefined) throw new Error(`${samplesPage} has no sample of an alert`);
  return mailSvg(alert, 12);
}

async function draw(file: string, svg: string): Promise<void> {
  await mkdir(dirname(join(root, file)), { recursive: true });
  await writeFile(join(root, file), svg);
  console.log(file);
}

/** The output of `npm start` on a sandbox that it makes. The sandbox stays, as after any `npm start`. */
async function start(): Promise<string> {
  // An earlier deployment belongs to a sandbox that is gone.
  await rm(join(root, ".pulumi"), { recursive: true, force: true });
  const { stdout } = await run("npm", ["start", "--silent"], { cwd: root });
  return screen("npm start", stdout);
}

/**
 * Draws the pictures again, from real runs on sandbox hosts and from the sample of an alert. Throws if the sandbox of `npm start` exists
 * already, because its first run prints more than the next.
 */
export async function drawScreens(): Promise<void> {
  if (listSandboxes().some(({ name }) => name === "sandbox"))
    throw new Error("The pictures show a first run. Remove the sandbox before: npm run sandbox -- down");
  await draw(screens.start, terminalSvg(await start()));
  await draw(screens.alert, await alertSvg());

  const name = `screens-${process.pid}`;
  const directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-screens-"));
  try {
    const { hosts } = await sandboxUp({ name, owner: process.pid, hosts: shownHosts });
    const stack = await new Stack({ name, directory }).init();
    await stack.configure(hosts, { alertRecipients: ["ops@example.com"] });
    const { code, stdout, stderr } = await stack.up();
    if (code !== 0) throw new Error(`${stdout}\n${stderr}`);
    const shots = await takeShots(name, stack, hosts);
    await draw(screens.status, terminalSvg(shots.status));
    await draw(screens.preview, terminalSvg(shots.preview));
    await draw(screens.comment, commentSvg(shots.comment));
  } finally {
    await sandboxDown(name);
    await rm(directory, { recursive: true, force: true });
  }
}
