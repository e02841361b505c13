import * as fc from "fast-check";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../toolchain/run";
import { fileNames, holds, latin } from "../support/names";
import { perl, split } from "../support/perl";
import { installTime, needPrograms } from "../support/programs";

// LsyncdAsCode::Itemize parses the output of the real rsync.

let folder: string;
beforeAll(() => needPrograms("rsync"), installTime);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lsyncd-as-code-itemize-"));
  mkdirSync(join(folder, "source"));
  mkdirSync(join(folder, "target"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Item {
  action: string;
  type: string;
  new: number;
  changed: number;
  size: string;
  differs: string[];
  name: string;
}

const read = `use LsyncdAsCode::Itemize; for (split /\\n/, $in) {
  my $i = LsyncdAsCode::Itemize::parse($_) // { action => 'other', type => '', new => 0, changed => 0, size => 0, name => $_ };
  my $name = LsyncdAsCode::Itemize::new_file($_);
  my $is_new = $i->{action} eq 'transfer' && $i->{type} eq 'f' && $i->{new} && !/\\\\/;
  die "new_file: $_" if ($is_new ? $i->{name} : '-') ne ($name // '-');
  die "deletes: $_" if ($i->{action} eq 'delete' ? 1 : 0) != LsyncdAsCode::Itemize::deletes($_);
  print map { "$_\\0" } @$i{qw(action type new changed size)}, join(',', sort keys %{ $i->{differs} }), $i->{name} }`;

/** The module's result for these lines. */
function items(lines: Buffer | string): Item[] {
  const fields = split(perl(read, lines)).map(latin);
  return Array.from({ length: fields.length / 7 }, (_, index) => {
    const [action = "", type = "", isNew, changed, size = "", differs = "", name = ""] = fields.slice(index * 7);
    const what = differs.split(",").filter((word) => word !== "");
    return { action, type, new: Number(isNew), changed: Number(changed), size, differs: what, name };
  });
}

/** rsync's plan for two directories. */
function plan(...args: string[]): Item[] {
  const print = 'use LsyncdAsCode::Itemize; print map { "$_\\0" } LsyncdAsCode::Itemize::options(1)';
  const options = split(perl(print)).map(latin);
  const { status, stdout, stderr } = spawnSync("rsync", ["-n", ...options, ...args, "source/", "target/"], {
    cwd: folder,
  });
  if (status !== 0) throw new Error(stderr.toString());
  return items(stdout).filter(({ name }) => name !== ".");
}

const shell = (text: string) => run("bash", ["-c", `cd '${folder}' && ${text}`]);
const short = (item: Item): string =>
  [
    item.name,
    item.action,
    item.type || "?",
    item.new ? "new" : item.differs.join("+") || (item.changed ? "changed" : "same"),
  ].join(" ");

const everyType = `cd source && mkdir d && echo content >f && ln -s f L && mkfifo p && ln f h && python3 -c '
import socket; socket.socket(socket.AF_UNIX).bind("s")' && mknod c c 1 3 && mknod b b 7 99`;

describe("every type of file", () => {
  it("that is new is reported as new", async () => {
    await shell(everyType);
    expect(plan("-aH").map(short).sort()).toEqual([
      "L create L new",
      "b create D new",
      "c create D new",
      "d create d new",
      expect.stringMatching(/^f (hardlink|transfer) f new$/),
      expect.stringMatching(/^h (hardlink|transfer) f new$/),
      "p create S new",
      "s create S new",
    ]);
    expect(plan("-a").find(({ name }) => name === "f")).toMatchObject({ size: "8" });
  });

  it("that is equal on both sides is reported as unchanged, including links", async () => {
    await shell(`${everyType} && rsync -aH . ../target`);
    const [f, h, ...others] = ["f", "h", "L", "b", "c", "d", "p", "s"].map((name) =>
      plan("-aH")
        .map(short)
        .find((line) => line.startsWith(`${name} `)),
    );
    expect([f, h].map((line) => line?.slice(2)).sort()).toEqual(["hardlink f changed", "none f same"]);
    expect(others).toEqual([
      "L none L same",
      "b none D same",
      "c none D same",
      "d none d same",
      "p none S same",
      "s none S same",
    ]);
    expect(plan("-a").every(({ changed }) => changed === 0)).toBe(true);
  });

  it("that differs is reported with its differences", async () => {
    await shell(
      `${everyType} && rsync -aH . ../target && touch -h -d 2001-01-01 L && chmod 600 p && chown 7:8 b && echo other thing >f`,
    );
    const found = plan("-aH").map(short);
    expect(found).toEqual(expect.arrayContaining(["L none L time", "p none S perms", "b none D group+owner"]));
    expect(found.find((line) => line.startsWith("f ") || line.startsWith("h "))).toMatch(
      /^[fh] transfer f size(\+time)?$/,
    );
  });

  it("that changed its type is reported, as is a link with another target", async () => {
    await shell(
      `cd source && mkdir d && ln -s there L && ln -s x was && rsync -a . ../target && rm -r d L was && ln -s d d && ln -s here L && mkdir was`,
    );
    const found = plan("-a", "--delete", "--force");
    expect(found.find(({ name }) => name === "L")).toMatchObject({ action: "create", type: "L", changed: 1 });
    expect(found.find(({ name }) => name === "d")).toMatchObject({ action: "create", type: "L", changed: 1 });
    expect(found.find(({ name }) => name === "was")).toMatchObject({ action: "create", type: "d", changed: 1 });
  });

  it("that will be deleted is reported", async () => {
    await shell("mkdir target/d && touch target/d/x && ln -s a target/L && mkfifo target/p");
    expect(plan("-a", "--delete").map(short)).toEqual(
      expect.arrayContaining([
        "d delete d changed",
        "d/x delete ? changed",
        "L delete ? changed",
        "p delete ? changed",
      ]),
    );
  });
});

describe("a name", () => {
  it("of any bytes is read unchanged: new, unchanged and deleted", () => {
    holds(
      fc.property(fileNames(1, 24), (names) => {
        for (const directory of ["source", "target"]) {
          rmSync(join(folder, directory), { recursive: true });
          mkdirSync(join(folder, directory));
        }
        const at = (directory: string, name: Buffer) =>
          Buffer.concat([Buffer.from(join(folder, directory, "/")), name]);
        names.forEach((name, index) => {
          if (index % 3 !== 2) writeFileSync(at("source", name), "");
          if (index % 3 !== 0) writeFileSync(at("target", name), "");
        });
        const expected = names.map((name, index) => `${latin(name)} ${["transfer", "none", "delete"][index % 3]}`);
        const found = plan("-r", "--size-only", "--delete").map(({ name, action }) => `${name} ${action}`);
        expect(found.sort()).toEqual(expected.sort());
      }),
      25,
    );
  });

  it("that looks like rsync's own escapes is read unchanged", () => {
    const names = ["\\#012", "a\\#189", "\\#134#012", "\\", "\\#01", "*deleting   0 x", ".f           0 x", "a => b"];
    for (const name of names) writeFileSync(join(folder, "source", name), "");
    expect(
      plan("-r")
        .map(({ name }) => name)
        .sort(),
    ).toEqual(names.sort());
  });
});

it("ignores messages of rsync that are not about a file", () => {
  const said = [
    "",
    "sending incremental file list",
    'skipping non-regular file "p"',
    "cannot delete non-empty directory: d",
    ">f+++++++++ x",
    ">f+++ 0 a",
  ];
  expect(items(`${said.join("\n")}\n`).map(({ action }) => action)).toEqual(said.map(() => "other"));
});
