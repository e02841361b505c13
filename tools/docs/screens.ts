import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { run } from "../../toolchain/run";
import { listSandboxes } from "../sandbox";
import { Stack } from "../stack";
import { terminalSvg } from "./svg";

const root = resolve(__dirname, "../..");

/** The pictures in the pages, each of them what a command shows. */
export const screens = { start: "docs/screens/start.svg", preview: "docs/screens/preview.svg" } as const;

/** The command that is typed, and below it what it shows. */
const screen = (typed: string, shown: string): string => `\x1b[32m$\x1b[0m \x1b[1m${typed}\x1b[0m\n${shown}`;

/** The parts of a preview that a reader looks for, with … for what is left out: the configuration's lines, and the end. */
function excerpt(shown: string): string {
  const lines = shown.split("\n").filter((line) => !/\[(id|urn|provider)=/.test(stripVTControlCharacters(line)));
  const plain = lines.map(stripVTControlCharacters);
  const delay = plain.findIndex((line) => /^ +\+ +delay +=/.test(line));
  const first = plain.findLastIndex((line, index) => index < delay && line.includes("command:remote:Command"));
  const next = plain.findIndex((line, index) => index > delay && line.includes("command:remote:Command"));
  const end = plain.findIndex((line) => line.startsWith("Resources:"));
  if ([delay, first, next, end].includes(-1))
    throw new Error(`The preview has another form than this expects:\n${shown}`);
  return ["…", ...lines.slice(first, next), "…", ...lines.slice(end)].join("\n");
}

async function draw(file: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, file)), { recursive: true });
  await writeFile(join(root, file), terminalSvg(text));
  console.log(file);
}

/**
 * Draws the pictures anew from real runs: `npm start` on a sandbox that it makes, and the preview of a change there. The
 * sandbox stays, as after any `npm start`. Throws when there is one already: the first run shows more than the next.
 */
export async function drawScreens(): Promise<void> {
  if (listSandboxes().some(({ name }) => name === "sandbox"))
    throw new Error("The pictures show a first run. Remove the sandbox before: npm run sandbox -- down");
  // What was deployed to an earlier sandbox is of no use to anyone.
  await rm(join(root, ".pulumi"), { recursive: true, force: true });
  const started = await run("npm", ["start", "--silent"], { cwd: root });
  await draw(screens.start, screen("npm start", started.stdout));

  const stack = new Stack({ name: "sandbox", directory: join(root, ".pulumi") });
  const settings = (await readFile(stack.configFile, "utf8")).replace("config:\n", "config:\n  lsyncd:delay: 5\n");
  const changed = join(root, ".pulumi", "Pulumi.changed.yaml");
  await writeFile(changed, settings);
  const previewed = await run(
    "npm",
    ["run", "--silent", "preview", "--", "--stack", "sandbox", "--config-file", changed, "--color", "always"],
    { cwd: root, env: stack.environment() },
  );
  await draw(screens.preview, screen("npm run preview -- --stack sandbox", excerpt(previewed.stdout)));
}
