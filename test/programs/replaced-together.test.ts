import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fragment } from "../../infra/commands/script";
import { run } from "../../toolchain/run";
import { library } from "../support/host-settings";

// The folder of all programs is exchanged at once. Two small versions of it, with the project's own readers of settings.

let folder: string;
const at = (name: string): string => join(folder, name);
const env = { ...process.env, LSYNCD_SETTINGS: undefined };
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-together-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

// Exchanges the two folders, as a deployment does.
const exchange = `bash -c '. ${library}/undo.sh; exchange $1 $1.new' bash`;

/** When the folder is exchanged while a program of it is starting: before it holds the folder, or later. */
type Moment = "first" | "later" | "never";

/** Writes a version of a program, in Bash and in Perl: a main file, a part whose name and function are its own, and a setting. */
async function version(name: string, to: string, moment: Moment = "never"): Promise<void> {
  const once = (when: Moment, text: string) => (when === moment ? text : "");
  const inBash = `[[ -e '${at("exchanged")}' ]] || { : >'${at("exchanged")}'; ${exchange} '${at("programs")}'; }\n`;
  const inPerl = `BEGIN { if (!-e '${at("exchanged")}') { open my $f, '>', '${at("exchanged")}'; system q{${exchange} '${at("programs")}'} } }\n`;
  const files: Record<string, string> = {
    "bash-main": `#!/bin/bash
library=\${BASH_SOURCE[0]%/*}
${once("first", inBash)}source "$library/whole.sh"
${once("later", inBash)}source "$parts/settings.sh"
source "$parts/part-${name}.sh"
read_settings test setting_${name}
whole
setting=setting_${name}
echo "${name} $(part_${name}) \${!setting} $*"
`,
    [`part-${name}.sh`]: `part_${name}() { echo ${name}; }\n`,
    "perl-main": `#!/usr/bin/perl
use strict; use warnings;
use lib __FILE__ =~ s{/[^/]*\\z}{}r;
${once("first", inPerl)}use LsyncdAsCode::Whole ();
${once("later", inPerl)}use LsyncdAsCode::Settings;
use LsyncdAsCode::Part${name} ();
my $settings = LsyncdAsCode::Settings::read('test');
print "${name} ", LsyncdAsCode::Part${name}::part(), ' ', $settings->text('setting_${name}'), " @ARGV\\n";
`,
    [`LsyncdAsCode/Part${name}.pm`]: `package LsyncdAsCode::Part${name}; sub part { return '${name}' } 1;\n`,
    "settings/test.conf": `setting_${name} = "${name}"\n`,
  };
  for (const shared of ["whole.sh", "settings.sh", "LsyncdAsCode/Whole.pm", "LsyncdAsCode/Settings.pm"])
    files[shared] = await readFile(join(library, shared), "utf8");
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(to, path, ".."), { recursive: true });
    await writeFile(join(to, path), text, { mode: 0o755 });
  }
}

describe.each(["bash-main", "perl-main"])("%s", (program) => {
  it("reads the settings beside it before those of /etc/lsyncd", async () => {
    await version("one", at("programs"));
    expect((await run(at(`programs/${program}`), ["a", "b c"], { env })).stdout).toBe("one one one a b c\n");
    await rm(at("programs/settings"), { recursive: true });
    const { code, stderr } = await run(at(`programs/${program}`), [], { env, allowFailure: true });
    expect([code === 0, stderr]).toEqual([false, expect.stringContaining("/etc/lsyncd/test.conf")]);
  });

  it.each(["first", "later"] as const)(
    "starts again if the folder is exchanged while it is starting: %s",
    async (moment) => {
      await version("one", at("programs"), moment);
      await version("two", at("programs.new"));
      const { stdout, stderr } = await run(at(`programs/${program}`), ["a", "b c"], { env });
      expect([stdout, stderr]).toEqual(["two two two a b c\n", ""]);
    },
  );
});

it("each program makes sure first that it has one version of all libraries", async () => {
  for (const name of await readdir(library)) {
    const text = await readFile(join(library, name), "utf8").catch(() => "");
    const [first] = /^use LsyncdAsCode.*|^(?:source|\.) ".*/m.exec(text) ?? [];
    if (!text.startsWith("#!") || first === undefined) continue;
    expect([name, first]).toEqual([
      name,
      expect.stringMatching(/^use LsyncdAsCode::Whole \(\);|^source "\$library\/whole\.sh"/),
    ]);
    // From the folder that it holds.
    expect(text.match(/^(?:source|\.) "\$library\/.*/gm)?.length ?? 0).toBeLessThan(2);
  }
});

describe("the files of an operator in the folder of all programs", () => {
  const count = 300;
  const functions = fragment("activate.sh").replace(/\nmain "\$@"\n$/, "\n");
  // The deployment before has `program`, `LsyncdAsCode/Gone.pm` and `earlier/gone`; the new one `program` and `LsyncdAsCode/New.pm`.
  const foreign = [
    ".hidden",
    "LsyncdAsCode/Own.pm",
    "a\nb ]$(x)",
    "dangling",
    "earlier/own",
    "own",
    "own/deep",
    "own/empty",
  ];
  beforeEach(async () => {
    await run("bash", [
      "-ec",
      `mkdir -p '${folder}'/{bin,state/transaction/new'${folder}'/lib/LsyncdAsCode}; cd '${folder}'
       mkdir -p lib/{LsyncdAsCode,earlier,settings,own/empty}; chmod 700 lib/own
       for path in program LsyncdAsCode/Gone.pm earlier/gone; do
         echo old >lib/$path; echo "0755 x none $PWD/lib/$path"
       done >state/manifest
       echo new >state/transaction/new"$PWD"/lib/program; echo new >state/transaction/new"$PWD"/lib/LsyncdAsCode/New.pm
       echo old >lib/settings/mirror.conf; echo half >lib/program.new
       for path in .hidden LsyncdAsCode/Own.pm $'a\\nb ]$(x)' earlier/own own/deep; do echo mine >"lib/$path"; done
       ln -s /nowhere lib/dangling; chmod 640 lib/own/deep; chown 1000:1000 lib/own/deep
       mkdir lib/own/many; touch lib/own/many/{1..${count}} lib/LsyncdAsCode/own-{1..${count}}
       printf '#!/bin/sh\\n' >bin/systemctl
       printf '#!/bin/sh\\necho >>"%s"\\nexec /bin/cp "$@"\\n' "$PWD/copies" >bin/cp; chmod +x bin/*`,
    ]);
  });

  const env = () => ({ ...process.env, PATH: `${at("bin")}:${process.env.PATH ?? ""}`, LIBRARY: at("lib") });
  /** Replaces the programs as a deployment does, after shell text; returns whether that was at once. */
  const deploy = async (before = "") => {
    const script = `STATE='${at("state")}' HOST=sqlite-1 STAGED=none; . '${library}/undo.sh'; ${functions}
      MANIFEST="0755 x none $LIBRARY/program"$'\n'"0644 x none $LIBRARY/LsyncdAsCode/New.pm"
      changed_files=("$LIBRARY/program" "$LIBRARY/LsyncdAsCode/New.pm"); ${before}
      prepare_library && prepare && swap_library && each_file swap_one && drop_settings_beside && echo $together`;
    return (await run("bash", ["-c", script], { env: env() })).stdout;
  };
  const list = async (name: string) =>
    (
      await run("bash", [
        "-c",
        `cd '${at(name)}' && find . -mindepth 1 ! -name 'own-*' ! -path '*/many*' -printf '%P\\0'`,
      ])
    ).stdout
      .split("\0")
      .filter(Boolean)
      .sort();

  it("are in the new folder, with their modes and owners, and what was ours is not", async () => {
    const before = await stat(at("lib/own/deep"));
    expect(await deploy()).toBe("true\n");
    expect(await list("lib")).toEqual([...foreign, "LsyncdAsCode", "LsyncdAsCode/New.pm", "earlier", "program"].sort());
    expect(await readFile(at("lib/program"), "utf8")).toBe("new\n");
    // The same file: a program that writes to it goes on doing so.
    expect(await stat(at("lib/own/deep"))).toMatchObject({ ino: before.ino, mode: before.mode, uid: 1000, gid: 1000 });
    expect((await stat(at("lib/own"))).mode & 0o777).toBe(0o700);
    for (const ours of ["lib", "lib/LsyncdAsCode", "lib/earlier"])
      expect((await stat(at(ours))).mode & 0o777).toBe(0o755);
    expect(await readdir(at("lib/own/many"))).toHaveLength(count);
    expect((await readdir(at("lib/LsyncdAsCode"))).filter((name) => name.startsWith("own-"))).toHaveLength(count);
    // The programs of the deployment, and three folders with files of the operator.
    expect((await readFile(at("copies"), "utf8")).length).toBe(4);
  });

  it("are kept where hard links are not possible: the programs are replaced one by one", async () => {
    const refuse = `cp() { case "$*" in -al*) return 1 ;; *) command cp "$@" ;; esac; }; xargs() { return 1; }`;
    expect(await deploy(`install() { command cp "\${@: -2:1}" "\${@: -1}"; }; ${refuse}`)).toBe("false\n");
    expect(await list("lib")).toEqual(expect.arrayContaining([...foreign, "LsyncdAsCode/New.pm"]));
    expect(await readFile(at("lib/program"), "utf8")).toBe("new\n");
  });

  it("are kept by a deployment that is undone", async () => {
    await run("bash", [
      "-ec",
      `cd '${at("state/transaction")}'; mkdir -p "old${at("lib")}"; cp -a '${at("lib")}'/{program,LsyncdAsCode,earlier} "old${at("lib")}"
       rm "old${at("lib")}"/*/*[oO]wn*; echo '${at("lib/LsyncdAsCode/New.pm")}' >absent; : >units.old; echo swapping >phase`,
    ]);
    await deploy();
    const undone = run(join(library, "lsyncd-undo"), [], {
      env: {
        ...env(),
        ...{ LSYNCD_STATE: at("state"), LSYNCD_ALERT: at("no-alert"), LSYNCD_LOCK: at("locks/deployment") },
      },
    });
    expect((await undone).code).toBe(0);
    const old = ["LsyncdAsCode", "LsyncdAsCode/Gone.pm", "earlier", "earlier/gone", "program"];
    expect(await list("lib")).toEqual([...foreign, ...old].sort());
    expect(await readFile(at("lib/program"), "utf8")).toBe("old\n");
    expect(await readdir(at("lib/own/many"))).toHaveLength(count);
  });
});

describe("the undo of a deployment", () => {
  // 60 programs of which the interrupted deployment replaced all, one that it added, and one setting.
  const names = Array.from({ length: 60 }, (_, index) => `program-${index}`);
  const old = (path: string) => `${at("state/transaction/old")}${at(path)}`;

  beforeEach(async () => {
    for (const path of [at("lib/checks"), at("bin"), old("lib/checks"), old("etc/lsyncd")])
      await mkdir(path, { recursive: true });
    for (const name of names) {
      await writeFile(at(`lib/${name}`), "new\n");
      await writeFile(join(old("lib"), name), "old\n");
    }
    await writeFile(at("lib/checks/added"), "new\n");
    await writeFile(join(old("lib"), "checks/removed"), "old\n");
    await writeFile(at("state/transaction/absent"), `${at("lib/checks/added")}\n`);
    await writeFile(at("state/transaction/units.old"), "");
    await writeFile(at("state/transaction/phase"), "swapping\n");
    await writeFile(at("bin/systemctl"), "#!/bin/sh\n", { mode: 0o755 });
  });

  const undo = (path = "") =>
    run(join(library, "lsyncd-undo"), [], {
      env: {
        ...process.env,
        ...{ PATH: `${path}${at("bin")}:${process.env.PATH ?? ""}`, LSYNCD_LOCK: at("locks/deployment") },
        ...{ LSYNCD_STATE: at("state"), LSYNCD_ALERT: at("no-alert"), LIBRARY: at("lib") },
      },
      allowFailure: true,
    });

  /** Reads all programs again and again until `stop` exists; prints each mix of versions that it has seen. */
  const reader = () =>
    run("perl", [
      "-e",
      `my %seen; until (-e '${at("stop")}') {
         chdir '${at("lib")}' or next;
         my %round; for (glob 'program-*') { open my $f, '<', $_ or next; chomp(my $v = <$f>); $round{$v} = 1 }
         $seen{join '+', sort keys %round}++;
       } print join ' ', sort keys %seen`,
    ]);

  const isRestored = async () => {
    for (const name of names) expect(await readFile(at(`lib/${name}`), "utf8")).toBe("old\n");
    expect(await readFile(at("lib/checks/removed"), "utf8")).toBe("old\n");
    for (const gone of ["lib/checks/added", "lib.new", "lib/settings", "state/transaction"])
      await expect(stat(at(gone))).rejects.toThrow("ENOENT");
  };

  it("restores all programs at once", async () => {
    const reading = reader();
    const { code, stderr } = await undo();
    await writeFile(at("stop"), "");
    expect([code, stderr]).toEqual([0, expect.stringContaining("has been undone")]);
    expect((await reading).stdout).toMatch(/^(new )?old$/);
    await isRestored();
  });

  it("restores them one by one where folders cannot be exchanged", async () => {
    await writeFile(at("bin/perl"), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
    expect((await undo()).code).toBe(0);
    await isRestored();
  });

  it("completes an undo that was killed at any point", async () => {
    // Before and after the exchange.
    for (const [program, version] of [
      ["cp", "new"],
      ["ln", "new"],
      ["perl", "new"],
      ["rm", "old"],
    ] as const) {
      const killing = `#!/bin/sh\n! grep -qx ${version} '${at("lib/program-0")}' || kill -9 $PPID\nexec /bin/${program} "$@"\n`;
      await writeFile(at(`bin/${program}`), killing, { mode: 0o755 });
      expect((await undo()).code).not.toBe(0);
      await rm(at(`bin/${program}`));
      expect((await stat(at("state/transaction/phase"))).isFile()).toBe(true);
    }
    expect((await undo()).code).toBe(0);
    await isRestored();
  });
});
