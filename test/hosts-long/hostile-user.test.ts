import { readFile } from "node:fs/promises";
import { on, prepare, succeeded, type Deployment } from "../support/deployment";
import { attempt, row } from "../support/faults";
import { asUser, hostileProgram, theftProgram } from "../support/hostile";

// An unprivileged user of a host who swaps the entries of both volumes in a loop, a minute for each program of root's that
// works there. See hostile-user in test/programs for the same in seconds.

jest.setTimeout(900_000);

const seconds = Number(process.env.SECONDS ?? 60);
let d: Deployment;

/** Everything outside: checksums, owners and modes. */
const outside = () =>
  on(
    d.host,
    `cd /srv/outside && find . -printf '%p %U:%G %m %l\\n' | sort && find . -type f -exec sha256sum {} + | sort; stat -c '%n %U %G %a' /etc/shadow /etc/passwd; sha256sum /etc/shadow /etc/passwd`,
  );

beforeAll(async () => {
  d = await prepare("hostile");
  const { host } = d;
  await on(
    host,
    `mkdir -p /srv/outside ${host.source}/mail && for n in secret 1 2 3 4 5; do echo "root only $n" >/srv/outside/$n; echo "mail $n" >${host.source}/mail/$n; done
     chmod 600 /srv/outside/*; echo x >${host.source}/top; rm -rf ${host.source}/lost+found
     sqlite3 ${host.source}/mail/data.sqlite 'create table t(x); insert into t values (1)'
     chown -R nobody:nogroup ${host.source}`,
  );
  succeeded(await d.stack.up());
  await on(host, "cat >/srv/hostile.pl", { input: await readFile(hostileProgram, "utf8") });
  await on(host, "cat >/srv/steal.pl", { input: await readFile(theftProgram, "utf8") });
});
afterAll(() => d.remove());

// First: the others may leave the mirror in use.
it("a hostile user who exchanges what rsync has just made gains no rights of root", async () => {
  const { host } = d;
  const gained = `find ${host.target}/m \\( -uid 0 -perm -4000 -o -gid 0 -perm -2000 \\) -ls >>/srv/gained`;
  const { output } = await attempt(
    host,
    `mkdir -p ${host.source}/m && cp /bin/true ${host.source}/m/evil && chown -R nobody:nogroup ${host.source}/m
     until [ -e ${host.target}/m/evil ]; do sleep 0.2; done
     : >/srv/gained
     ${asUser} perl /srv/steal.pl ${host.target}/m >/srv/stolen & thief=$!
     end=$((SECONDS + ${String(seconds)})); while [ $SECONDS -lt $end ]; do
       ${asUser} bash -c 'echo $RANDOM >>${host.source}/m/evil; cd ${host.target}/m; rm -f evil .decoy; echo | tee evil >.decoy; chmod 6755 ${host.source}/m/evil evil; chmod 600 .decoy' 2>/dev/null
       sleep 1.5; ${gained}; done
     kill $thief; wait $thief; cat /srv/stolen /srv/gained`,
  );
  const [stolen = "", ...found] = output.trim().split("\n");
  expect(Number(stolen)).toBeGreaterThan(seconds / 12);
  expect(found).toEqual([]);
  await row({
    injected: `${String(seconds)} s of exchanging each file that rsync makes in the mirror for a set-user-ID file of the user's`,
    happened: `${stolen} files were exchanged, and none got root's rights`,
    lost: 0,
  });
});

it.each([
  ["the copier and rsync's own passes", "sleep 1"],
  ["the monitor", "timeout 60 lsyncd-monitor.sh"],
  ["the verification", "timeout 60 lsyncd-verify"],
  ["a failover and its end", "lsyncd-failover begin; timeout 60 lsyncd-failover end --keep target"],
])("a hostile user reaches nothing outside through %s", async (what, command) => {
  const { host } = d;
  const before = await outside();
  const swaps = Number(
    (
      await attempt(
        host,
        `${asUser} perl /srv/hostile.pl /srv/outside ${host.source} ${host.target} >/tmp/swaps &
         end=$((SECONDS + ${String(seconds)})); while [ $SECONDS -lt $end ]; do { ${command}; } >/dev/null 2>&1; done; kill %1; wait; cat /tmp/swaps`,
      )
    ).output.trim(),
  );
  expect(swaps).toBeGreaterThan(1000);
  expect(await outside()).toBe(before);
  expect(await on(host, `grep -rl --devices=skip 'root only' ${host.source} ${host.target} || true`)).toBe("");
  await row({
    injected: `${String(seconds)} s of swapped directories, links, FIFOs and hard links against ${what}`,
    happened: "nothing outside the volumes changed, by checksum, owner and mode",
    lost: 0,
  });
});
