import { content, eventually, on, prepare, succeeded, type Deployment } from "../support/deployment";
import { attempt, files, fill, identical, mirrors, missingFrom, row, stopped } from "../support/faults";

jest.setTimeout(300_000);

let d: Deployment;

const held = "/var/lib/lsyncd-as-code/held";
const exists = async (path: string) => (await attempt(d.host, `test -e ${path}`)).code === 0;
const lost = async () => missingFrom(await files(d.host, d.host.target), await files(d.host, d.host.source));

beforeAll(async () => {
  d = await prepare("files", { volumeSizeMb: { source: 400, target: 200 } });
  await fill(d.host, 300);
  // The documented settings, and every attribute that rsync can preserve. (Some do not apply to databases.)
  await d.configure({
    sqliteSafe: false,
    rsyncOptions: ["--delete", "--delete-after", "--inplace", "--acls", "--xattrs", "--omit-dir-times"],
  });
  succeeded(await d.stack.up());
  await identical(d.host);
  // A file that cannot be written in the mirror: rsync exits with 23, which lsyncd treats as success. Checked last.
  await on(d.host, `chattr +i ${d.host.target}/mail/a/7.eml && echo changed >${d.host.source}/mail/a/7.eml`);
});
afterAll(async () => {
  await d.remove();
});

describe("the sandboxing of lsyncd's unit", () => {
  it("does not restrict rsync: owners, modes, devices, links, ACLs, attributes", async () => {
    const { host } = d;
    await on(
      host,
      `mkdir ${host.source}/kinds && cd ${host.source}/kinds && echo a >file && chown 1234:4321 file && chmod 751 file
       echo b >private && chmod 600 private && ln -s file link && ln file hard && mknod char c 1 7 && mknod block b 7 200 && mkfifo pipe
       mkdir -m 1777 sticky && mkdir -m 2775 shared
       perl -e '
         my ($attribute, $acl) = ("user.note", "system.posix_acl_access");
         my $value = pack "V (vvV)4 vvV", 2, 1,6,0xffffffff, 2,4,1234, 4,4,0xffffffff, 16,4,0xffffffff, 32,0,0xffffffff;
         my $text = "kept"; my ($f, $p) = ("file", "private");
         syscall(188, $p, $attribute, $text, 4, 0) == 0 or die "attribute: $!";
         syscall(188, $p, $acl, $value, length $value, 0) == 0 or die "acl: $!"'`,
    );
    const kinds = (path: string) =>
      on(
        host,
        `cd ${path}/kinds && find . -not -name . -printf '%p %M %U %G %l %y\\n' | sort; stat -c '%n %t %T' char block
         perl -e 'for (qw(user.note system.posix_acl_access)) { my $name = $_; my $value = "\\0" x 100; my $p = "private"; my $n = syscall(191, $p, $name, $value, 100); print "$name $n ", unpack("H*", substr $value, 0, $n > 0 ? $n : 0), "\\n" }'`,
      );
    await eventually(
      async () => (await kinds(host.target)) === (await kinds(host.source)),
      30,
      async () => `source:\n${await kinds(host.source)}\ntarget:\n${await kinds(host.target)}`,
    );
    const seen = await kinds(host.target);
    expect(seen).toContain("./file -rwxr-x--x 1234 4321");
    expect(seen).toContain("./shared drwxrwsr-x");
    expect(seen).toContain("./char crw-");
    expect(seen).toMatch(/user\.note 4 /);
    expect(seen).toMatch(/system\.posix_acl_access 44 /);
    await on(host, `rm -r ${host.source}/kinds`);
    await eventually(async () => !(await exists(`${host.target}/kinds`)));
  });

  // test/programs/volume-rsync.test.ts shows what they do.
  it("does not prevent the limits of rsync", async () => {
    const { host } = d;
    const filters = await on(host, "grep Seccomp_filters /proc/$(pgrep -x lsyncd)/status | cut -f 2");
    const seen = await on(
      host,
      `head -c 60000000 /dev/zero >${host.source}/large
       for i in $(seq 3000); do for pid in $(pgrep -x rsync); do
         if status=$(cat /proc/$pid/status 2>/dev/null) && [[ $status =~ Gid:.65534 ]]; then grep -E '^(Gid|NoNewPrivs|Seccomp_filters|CapBnd)' <<<"$status"; exit; fi
       done; done`,
    );
    expect(seen).toMatch(/^Gid:\t65534\t65534\t65534\t65534$/m);
    expect(seen).toContain(`Seccomp_filters:\t${String(Number(filters) + 1)}`);
    // Bit 8, the right to drop others, was used and dropped itself.
    const bounding = BigInt(`0x${/^CapBnd:\t(.*)$/m.exec(seen)?.[1] ?? ""}`);
    expect(bounding & (1n << 8n)).toBe(0n);
    await on(host, `rm ${host.source}/large`);
    await eventually(async () => !(await exists(`${host.target}/large`)));
  });

  // A user could make another file's arrive with its own content (docs/decisions/0012-who-is-trusted.md).
  it("mirrors no set-user-ID or set-group-ID bit of a file, and no file capability", async () => {
    const { host } = d;
    await on(
      host,
      `cd ${host.source} && cp /bin/true program && chmod 6755 program
       perl -e '
         my ($path, $name, $value) = ("program", "security.capability", pack "V V V V V", 0x02000001, 0x400, 0, 0, 0);
         syscall(188, $path, $name, $value, 20, 0) == 0 or die "capability: $!"'`,
    );
    await eventually(() => exists(`${host.target}/program`));
    expect(await on(host, `cd ${host.target} && stat -c %A program && cmp program ${host.source}/program`)).toBe(
      "-rwxr-xr-x",
    );
    const attributes = `perl -e 'my ($path, $names) = ("program", "\\0" x 1000); my $n = syscall 194, $path, $names, 1000; print substr $names, 0, $n'`;
    expect(await on(host, `cd ${host.source} && ${attributes}`)).toContain("security.capability");
    expect(await on(host, `cd ${host.target} && ${attributes}`)).not.toContain("security.capability");
    await on(host, `rm ${host.source}/program`);
  });
});

describe("files rewritten with the same size within one second", () => {
  it("are all mirrored", async () => {
    const { host } = d;
    await on(
      host,
      `mkdir -p ${host.source}/same && cd ${host.source}/same
       for round in 1 2 3 4 5 6 7 8; do for i in $(seq 100 299); do echo "round $round of $i" >$i; done; sleep 0.3; done`,
    );
    await eventually(
      async () => (await content(host, `${host.target}/same`)) === (await content(host, `${host.source}/same`)),
      40,
    );
    await row({
      injected: "200 files rewritten 8 times with the same size, several times a second",
      happened: "all were mirrored",
      lost: missingFrom(await files(host, `${host.target}/same`), await files(host, `${host.source}/same`)),
    });
  });
});

describe("kill -9", () => {
  it.each(["lsyncd", "rsync", "lsyncd-supervisor", "rsync-wrapper"])(
    "of %s during a copy loses nothing",
    async (name) => {
      const { host } = d;
      const find = name.includes("-") ? `pgrep -f '^/usr/bin/perl .*/${name}'` : `pgrep -x ${name}`;
      await mirrors(host);
      await on(
        host,
        // On a busy machine rsync may have ended between the two looks.
        `for try in 1 2 3 4 5; do
           head -c 20000000 /dev/urandom >${host.source}/killed-${name}
           for i in $(seq 400); do
             pgrep -x rsync >/dev/null && kill -9 $(${find} | head -n 1) 2>/dev/null && exit 0
             sleep 0.01
           done
         done
         exit 1`,
      );
      await mirrors(host, 90);
      await eventually(
        async () =>
          (await on(host, `sha256sum <${host.source}/killed-${name}`)) ===
          (await on(host, `sha256sum <${host.target}/killed-${name}`)),
        60,
      );
      await row({
        injected: `kill -9 of ${name} in the middle of a copy`,
        happened: "the copy was repeated",
        lost: missingFrom(
          new Map([["f", await on(host, `sha256sum <${host.target}/killed-${name}`)]]),
          new Map([["f", await on(host, `sha256sum <${host.source}/killed-${name}`)]]),
        ),
      });
      await on(host, `rm ${host.source}/killed-${name}`);
    },
  );
});

describe("a full target", () => {
  it("gets every file but the one that does not fit, and that one once it fits", async () => {
    const { host } = d;
    await on(host, `head -c 240000000 /dev/urandom >${host.source}/too-large; echo small >${host.source}/after`);
    await eventually(async () => (await on(host, `cat ${host.target}/after`, { allowFailure: true })) === "small", 60);
    expect(await on(host, "journalctl -u lsyncd.service -o cat --no-pager")).toContain(
      "no room in the mirror for too-large",
    );
    expect(await on(host, `stat -c %s ${host.target}/too-large`, { allowFailure: true })).not.toBe("240000000");
    await on(host, `truncate -s 20000000 ${host.source}/too-large`);
    await eventually(
      async () =>
        (await on(host, `sha256sum <${host.source}/too-large`)) ===
        (await on(host, `sha256sum <${host.target}/too-large`, { allowFailure: true })),
      60,
    );
    await on(host, `rm ${host.source}/too-large`);
    await eventually(async () => !(await exists(`${host.target}/too-large`)), 60);
    await row({
      injected: "A file larger than the target's free space, made smaller later",
      happened: "it was skipped and reported, everything else was mirrored, and it followed once it fit",
      lost: (await lost()) - 1, // mail/a/7.eml, which another test holds fast
    });
  });

  it("gets new files in the space of files deleted at the same time", async () => {
    const { host } = d;
    await on(host, `head -c 110000000 /dev/urandom >${host.source}/old`);
    await eventually(async () => exists(`${host.target}/old`));
    await mirrors(host);
    await on(
      host,
      `systemctl stop lsyncd; rm ${host.source}/old; head -c 110000000 /dev/urandom >${host.source}/new; systemctl start lsyncd`,
    );
    await eventually(
      async () =>
        (await on(host, `sha256sum <${host.source}/new`)) ===
        (await on(host, `sha256sum <${host.target}/new`, { allowFailure: true })),
      60,
    );
    expect(await exists(`${host.target}/old`)).toBe(false);
    await row({
      injected: "A large file replaced by another, without free space on the target for both (--delete-after)",
      happened: "the pass was repeated with deletions first",
      lost: (await lost()) - 1,
    });
    await on(host, `rm ${host.source}/new`);
    await eventually(async () => !(await exists(`${host.target}/new`)));
  });
});

describe("an overflow of the kernel's event queue", () => {
  it("causes a full pass", async () => {
    const { host } = d;
    await mirrors(host);
    await on(
      host,
      `pkill -STOP -x lsyncd; cd ${host.source}/same && for i in $(seq 120); do touch *; done; echo overflown >${host.source}/overflow; pkill -CONT -x lsyncd`,
    );
    await eventually(async () => (await on(host, "cat /var/log/lsyncd/lsyncd.log")).includes("OVERFLOW"), 60);
    await eventually(
      async () => (await on(host, `cat ${host.target}/overflow`, { allowFailure: true })) === "overflown",
      60,
    );
    await row({
      injected: "More than 16384 events while lsyncd is stopped by a signal: the queue overflows",
      happened: "lsyncd mirrored everything again",
      lost: (await lost()) - 1,
    });
  });
});

describe("a file that rsync could not write (exit code 23)", () => {
  it("is mirrored once it can be written", async () => {
    const { host } = d;
    expect(await on(host, `cat ${host.target}/mail/a/7.eml`)).toBe("content 7");
    await on(host, `chattr -i ${host.target}/mail/a/7.eml`);
    const seconds = await identical(host, 150);
    expect(await on(host, `cat ${host.target}/mail/a/7.eml`)).toBe("changed");
    await row({
      injected: "A file that cannot be written in the mirror for a while (rsync ends with 23)",
      happened: `mirrored ${seconds} s after it became writable`,
      lost: await lost(),
    });
  });
});

describe("the source", () => {
  it("a renamed large directory deletes nothing", async () => {
    const { host } = d;
    await on(host, `mv ${host.source}/mail ${host.source}/post`);
    await identical(host);
    expect(await exists(held)).toBe(false);
    await on(host, `mv ${host.source}/post ${host.source}/mail`);
    await identical(host);
    expect(await exists(held)).toBe(false);
  });

  it.each([
    ["truncated", `for i in mail/a/*.eml mail/b/*.eml; do : >$i; done`, "would have been deleted or emptied"],
    [
      "encrypted",
      `for i in mail/a/*.eml mail/b/*.eml; do head -c 99 /dev/urandom >$i; done`,
      "would have been rewritten",
    ],
    ["renamed to another suffix", `for i in mail/a/*.eml mail/b/*.eml; do mv $i $i.locked; done`, "to another suffix"],
  ])("with most of its files %s: mirroring stops, and the mirror keeps every file", async (how, change, message) => {
    const { host } = d;
    const before = await files(host, host.target);
    await on(host, `cp -a ${host.source} /srv/before && cd ${host.source} && ${change}`);
    await eventually(async () => exists(held), 30);
    await stopped(host);
    expect(await on(host, `cat ${held}`)).toContain(message);
    const now = await files(host, host.target);
    // A smaller number may be mirrored before the limit is reached.
    expect(missingFrom(now, before)).toBeLessThanOrEqual(100);
    await row({
      injected: `Most files of the source ${how} (300)`,
      happened: "mirroring stopped, and the mirror was held",
      lost: 0,
    });
    await on(host, `rsync -aX --acls --delete /srv/before/ ${host.source}/ && rm -r /srv/before && lsyncd-release`);
    await mirrors(host);
    await identical(host);
  });

  it("set back in time: mirroring stops until an operator accepts the source", async () => {
    const { host } = d;
    const ours = (volume: "source" | "target") => `${host[volume]}/.lsyncd-as-code/generation`;
    await on(host, `cp -a ${ours("source")} /srv/generation; touch -d '2 minutes ago' ${ours("target")}`);
    await mirrors(host);
    await eventually(async () => (await on(host, `cat ${ours("source")}`)) !== (await on(host, "cat /srv/generation")));
    await on(host, `systemctl stop lsyncd; cp -a /srv/generation ${ours("source")}; echo old >${host.source}/alive`);
    const before = await files(host, host.target);
    await on(host, "systemctl start lsyncd");
    await eventually(async () => exists(held), 30);
    await stopped(host);
    expect(missingFrom(await files(host, host.target), before)).toBe(0);
    expect((await attempt(host, "lsyncd-release")).output).toContain("lsyncd-release --accept-source");
    await row({
      injected: "A source that was set back in time (a restored snapshot)",
      happened: "mirroring stopped, and the mirror was held until an operator accepted the source",
      lost: missingFrom(await files(host, host.target), before),
    });
    await on(host, "lsyncd-release --accept-source");
    await mirrors(host);
    await identical(host);
  });

  it("emptied: mirroring stops, and the mirror keeps every file, also after a restart of lsyncd", async () => {
    const { host } = d;
    const before = await files(host, host.target);
    expect(before.size).toBeGreaterThan(300);
    await on(host, `rm -rf ${host.source}/*`);
    await eventually(async () => exists(held), 30);
    await stopped(host);
    expect(await on(host, `cat ${held}`)).toMatch(
      /^the mirror was stopped at .*: \d+ of its \d+ files and directories would have been deleted/,
    );
    await on(host, "systemctl restart lsyncd; sleep 2");
    await stopped(host, 3);
    expect(missingFrom(await files(host, host.target), before)).toBe(0);
    await row({
      injected: `The source emptied (rm -rf, ${before.size} files)`,
      happened: "mirroring stopped, and the mirror kept every file",
      lost: missingFrom(await files(host, host.target), before),
    });
    // Restored as the alert and the documentation describe.
    await on(host, `rsync -aX --acls ${host.target}/ ${host.source}/ && lsyncd-release`);
    await mirrors(host);
    await identical(host);
    expect(missingFrom(await files(host, host.target), before)).toBe(1); // `alive`, which was changed by the line above
  });

  it("deliberately emptied: the deletion is permitted once", async () => {
    const { host } = d;
    // As one list of lsyncd: a pass in the middle of it would be held with a smaller number, and the rest once more after the release.
    await on(host, `pkill -STOP -x lsyncd && rm -rf ${host.source}/*; pkill -CONT -x lsyncd`);
    await eventually(async () => exists(held), 30);
    expect((await attempt(host, "lsyncd-release")).output).toContain("Allowed until the next full pass is done.");
    await mirrors(host);
    await identical(host);
    expect(await exists(held)).toBe(false);
    await eventually(async () => !(await exists("/var/lib/lsyncd-as-code/allow-deletion")));
    await fill(host, 300);
    await identical(host);
    await on(host, `rm -rf ${host.source}/*`);
    await eventually(async () => exists(held), 30);
  });
});
