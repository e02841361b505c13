import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { run } from "../../toolchain/run";
import type { Extra } from "../../tools/stack";
import { commitAll, copyRepository } from "../support/clone";
import { on, prepare, succeeded, type Deployment } from "../support/deployment";
import { installTime, needPrograms } from "../support/programs";
import { runJob, type JobResult } from "../support/workflow";

jest.setTimeout(300_000);

let d: Deployment;
let directory: string;
/** The repository as a runner checks it out. */
let clone: string;
/** The comments of the pull request, as GitHub has them. */
let store: string;
let env: NodeJS.ProcessEnv;

/** GitHub's own program for its API, as far as the workflow calls it; jq is what it has inside. */
const gh = `#!/bin/bash
set -eu
: "\${GH_TOKEN:?}"
new() { jq "$@" --rawfile body comment.md "$COMMENTS_STORE" >"$COMMENTS_STORE.new"; mv "$COMMENTS_STORE.new" "$COMMENTS_STORE"; }
case $* in
  "api --paginate repos/o/r/issues/7/comments --jq "*) jq -r "$5" "$COMMENTS_STORE" ;;
  "api --silent --method POST repos/o/r/issues/7/comments --field body=@comment.md")
    new '. + [{ id: 43, user: { login: "github-actions[bot]" }, body: $body }]' ;;
  "api --silent --method PATCH repos/o/r/issues/comments/43 --field body=@comment.md")
    new '[.[] | if .id == 43 then .body = $body else . end]' ;;
  *) echo "gh: what is $*" >&2; exit 1 ;;
esac
`;

beforeAll(async () => {
  await needPrograms("jq");
  d = await prepare("workflows", { volumeSizeMb: 64 });
  directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-test-"));
  clone = join(directory, "clone");
  store = join(directory, "comments.json");
  await mkdir(join(directory, "bin"));
  await writeFile(join(directory, "bin", "gh"), gh, { mode: 0o755 });
  // A user's comment that quotes ours.
  const quoted = "<!-- preview of lsyncd as code -->\nis what the bot writes";
  await writeFile(store, JSON.stringify([{ id: 42, user: { login: "someone" }, body: quoted }]));
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(SSH_AUTH_SOCK|LSYNCD_|PULUMI_C|npm_)/.test(name),
  );
  env = {
    ...Object.fromEntries(inherited),
    PATH: `${join(directory, "bin")}:${process.env.PATH ?? ""}`,
    RUNNER_TEMP: directory,
    COMMENTS_STORE: store,
    CI: "true",
  };
  await copyRepository(clone, (file) => !file.startsWith("test/"));
  await change({});
}, installTime);
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
  await d.remove();
});

/** Commits these settings, on top of what was merged before. */
async function change(settings: Extra): Promise<void> {
  await d.configure(settings);
  await copyFile(d.stack.configFile, join(clone, "stacks", basename(d.stack.configFile)));
  await commitAll(clone, JSON.stringify(settings));
}

const stackName = (): string => basename(d.stack.configFile).replace(/^Pulumi\.(.*)\.yaml$/, "$1");
const secrets = (): Record<string, string> => ({
  "vars.PULUMI_BACKEND_URL": `file://${join(d.directory, "state")}`,
  "secrets.PULUMI_ACCESS_TOKEN": "",
  "secrets.PULUMI_CONFIG_PASSPHRASE": "sandbox",
  "secrets.AWS_ACCESS_KEY_ID": "",
  "secrets.AWS_SECRET_ACCESS_KEY": "",
});
const find = (values: Record<string, string>): Promise<JobResult> =>
  runJob(["deploy.yml", "stacks"], { "inputs.stack": "", "github.event.before": "", ...values }, { cwd: clone, env });
const deploy = (stack: string): Promise<JobResult> =>
  runJob(["deploy.yml", "deploy"], { ...secrets(), "matrix.stack": stack }, { cwd: clone, env });
/** The change of the pull request: the last commit. */
async function preview(): Promise<JobResult> {
  await run("git", ["update-ref", "refs/remotes/origin/main", "HEAD~1"], { cwd: clone });
  return runJob(["preview.yml", "preview"], { ...secrets(), "github.base_ref": "main" }, { cwd: clone, env });
}
async function comment(): Promise<string[]> {
  const values = {
    "github.token": "x",
    "github.repository": "o/r",
    "github.event.pull_request.number": "7",
  };
  succeeded(await runJob(["preview.yml", "comment"], values, { cwd: directory, env }));
  return (JSON.parse(await readFile(store, "utf8")) as { body: string }[]).map(({ body }) => body);
}

it("a stack named in a manual run is deployed, and shell syntax in a name is not executed", async () => {
  const { outputs } = await find({ "inputs.stack": stackName() });
  expect(JSON.parse(outputs.stacks ?? "")).toEqual([stackName()]);
  succeeded(await deploy(stackName()));
  expect(await on(d.host, "systemctl is-active lsyncd")).toBe("active");

  const name = `$(touch ${join(directory, "ran")})`;
  const wrong = await find({ "inputs.stack": name });
  if (wrong.code === 0) expect(JSON.parse(wrong.outputs.stacks ?? "")).toEqual([name]);
  expect((await deploy(name)).code).not.toBe(0);
  await expect(readFile(join(directory, "ran"))).rejects.toThrow("ENOENT");
});

it("a pull request gets one comment, which its next push updates", async () => {
  await change({ delay: 5 });
  succeeded(await preview());
  const [quoting, first, ...more] = await comment();
  expect(quoting).toContain("is what the bot writes");
  expect(first).toMatch(/^<!-- preview of lsyncd as code -->/);
  expect(first).toMatch(/^\+ .*delay += 5,$/m);
  expect(first).toContain("lsyncd restarts on 1");
  expect(more).toEqual([]);

  await change({ delay: 7 });
  succeeded(await preview());
  const [, second, ...others] = await comment();
  expect(second).toMatch(/^\+ .*delay += 7,$/m);
  expect(others).toEqual([]);
});

it("a refusing preflight fails the check, and the comment gives the reason", async () => {
  await change({ delay: 7, target: "/mnt/nothing" });
  expect((await preview()).code).not.toBe(0);
  const [, text] = await comment();
  expect(text).toContain("/mnt/nothing does not exist");
});

it("a push to main deploys only the stacks that it affects", async () => {
  await change({ delay: 7 });
  const { outputs } = await find({ "github.event.before": "HEAD~1" });
  expect(JSON.parse(outputs.stacks ?? "")).toEqual([stackName()]);
  succeeded(await deploy(stackName()));
  expect(await on(d.host, "grep delay /etc/lsyncd/lsyncd.conf.lua")).toContain("= 7,");

  await writeFile(join(clone, "README.md"), "x");
  await commitAll(clone);
  expect((await find({ "github.event.before": "HEAD~1" })).outputs.stacks).toBe("[]");
});
