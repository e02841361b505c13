import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fragment } from "../../infra/commands/script";
import { run } from "../../toolchain/run";

// Which text of a file with a secret an activation takes: the one that the preflight has left, or the copy of what is in force
// if no secret has changed since.

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-secrets-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const functions = ["undo.sh", "activate.sh"]
  .map(fragment)
  .join("\n")
  .replace(/\nmain "\$@"\n$/, "\n");

// A path that exists on no machine, so that what is in force here has no effect.
const path = "/etc/lsyncd-test/alerts.conf";

const write = async (name: string, text: string): Promise<void> => {
  await mkdir(dirname(join(folder, name)), { recursive: true });
  await writeFile(join(folder, name), text);
};
const leave = (text: string) => write(`kept/me${path}`, text);

/** Collects the files of an activation with this mark. Then what is collected is in force, and what the preflight has left is gone. */
async function collect(mark: string): Promise<{ code: number; stdout: string; taken?: string }> {
  const script = `STATE='${folder}' KEPT='${folder}/kept' ID=me HOST=sqlite-1 STAGED=none SECRETS='${mark}'; ${functions}
    declare -A content=([/etc/lsyncd-test/mirror.conf]=plain)
    CATALOGUE='0644 none sent /etc/lsyncd-test/mirror.conf
0600 none kept ${path}'
    rm -rf "$TRANSACTION"; mkdir "$TRANSACTION"
    collect && rm -rf "$STATE/files" "$KEPT" && mv "$TRANSACTION/new" "$STATE/files"`;
  const { code, stdout } = await run("bash", ["-c", script], { allowFailure: true });
  return code === 0 ? { code, stdout, taken: await readFile(join(folder, `files${path}`), "utf8") } : { code, stdout };
}

const refused = {
  code: 1,
  stdout:
    `Activation on sqlite-1: ${path} is missing, although the preflight stores it. ` +
    "Send it again: npm run up -- --replace '**-preflight'\n",
};

it("the one that the preflight has left comes first", async () => {
  await leave("one");
  expect(await collect("m1")).toMatchObject({ taken: "one" });
  await leave("two");
  expect(await collect("m2")).toMatchObject({ taken: "two" });
});

it("a repair, for which the preflight sends nothing, uses the copy in force", async () => {
  await leave("one");
  await collect("m1");
  expect(await collect("m1")).toMatchObject({ taken: "one" });
  expect(await collect("m1")).toMatchObject({ taken: "one" });
});

it("a lost file is refused rather than replaced by the text before it", async () => {
  await leave("one");
  await collect("m1");
  expect(await collect("m2")).toEqual(refused);
  // It is sent again.
  await leave("two");
  expect(await collect("m2")).toMatchObject({ taken: "two" });
});

it("a copy without a mark, and one that is incomplete, are not taken", async () => {
  expect(await collect("m1")).toEqual(refused);
  await write(`files${path}`, "unknown");
  expect(await collect("m1")).toEqual(refused);
  await leave("one");
  await collect("m1");
  await rm(join(folder, `files${path}`));
  expect(await collect("m1")).toEqual(refused);
});
