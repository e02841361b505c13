import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { reset } from "../../tools/sandbox";
import {
  content,
  failed,
  listing,
  mirrored,
  on,
  prepare,
  succeeded,
  systemPlaces,
  type Deployment,
} from "../support/deployment";

jest.setTimeout(300_000);

let d: Deployment;

beforeAll(async () => {
  d = await prepare("refuse");
});
afterAll(async () => {
  await d.remove();
});

/** Deploys, expects a refusal, and checks that the host and both volumes are unchanged. Returns the output. */
async function refused(env: Record<string, string> = {}): Promise<string> {
  const places = [...systemPlaces, d.host.source, d.host.target, "/mnt/elsewhere"];
  const before = await listing(d.host, ...places);
  const text = failed(await d.stack.up(undefined, env));
  expect(await listing(d.host, ...places)).toBe(before);
  expect(text).toContain(`Preflight refuses ${d.host.name} (${d.host.address}), nothing was changed on it`);
  // Such as the digest of a file with secrets, which a command's text contains.
  expect(text).not.toMatch(/\b[0-9a-f]{64}\b/);
  return text;
}

describe("the preflight", () => {
  it("refuses a missing source and a missing target, both in one message", async () => {
    const text = await refused({ LSYNCD_SOURCE: "/mnt/none", LSYNCD_TARGET: "/mnt/nothing" });
    expect(text).toContain("1. The source /mnt/none does not exist.");
    expect(text).toContain("2. The target /mnt/nothing does not exist.");
  });

  it("refuses a path that is not a directory", async () => {
    await on(d.host, "touch /mnt/file");
    expect(await refused({ LSYNCD_SOURCE: "/mnt/file" })).toContain("The source /mnt/file is not a directory.");
  });

  it.each(["source", "target"] as const)("refuses a %s that is not mounted", async (role) => {
    await on(d.host, `umount ${d.host[role]}`);
    expect(await refused()).toContain(
      `The ${role} ${d.host[role]} is not mounted: it is a directory of the file system /.`,
    );
    await on(d.host, `mount ${d.host[role]}`);
  });

  it("refuses data in the target, with the commands to inspect and to save it", async () => {
    await on(d.host, `mkdir -p ${d.host.target}/a/b && echo precious > ${d.host.target}/a/b/mail.sqlite`);
    const text = await refused();
    expect(text).toContain("The target /mnt/storage_do_2 holds data (for example a/b/mail.sqlite).");
    for (const command of [
      "ls -la /mnt/storage_do_2/",
      "du -sh /mnt/storage_do_2/",
      "rsync -avP --sparse /mnt/storage_do_2/ /path/to/backup/",
      `LSYNCD_SKIP_SAFETY=true npm run up -- --stack ${d.name}`,
    ]) {
      expect(text).toContain(command);
    }
  });

  it("refuses in a preview too, which then fails", async () => {
    const text = failed(await d.stack.preview());
    expect(text).toContain("The target /mnt/storage_do_2 holds data (for example a/b/mail.sqlite).");
  });

  it("names one file, however many there are", async () => {
    await on(d.host, `cd ${d.host.target} && mkdir many && cd many && seq 20000 | xargs touch`);
    expect(new Set((await refused()).match(/\(for example [^)]+\)/g)).size).toBe(1);
    await on(d.host, `rm -r ${d.host.target}/many`);
  });

  it("refuses two mount points of one file system", async () => {
    await on(d.host, `mkdir -p /mnt/elsewhere && mount --bind ${d.host.source} /mnt/elsewhere`);
    const text = await refused({ LSYNCD_TARGET: "/mnt/elsewhere" });
    expect(text).toContain("are on the same file system");
    await on(d.host, "umount /mnt/elsewhere");
  });
});

describe("LSYNCD_SKIP_SAFETY=true", () => {
  it("makes a preview print a prominent warning instead of a refusal", async () => {
    // More files than may be deleted from a known mirror.
    await on(d.host, `echo kept > ${d.host.source}/kept; cd ${d.host.target}/a && seq 300 | xargs touch`);
    const text = succeeded(await d.stack.preview([], { LSYNCD_SKIP_SAFETY: "true" }));
    expect(text).toContain("LSYNCD_SKIP_SAFETY=true overrides this: The target /mnt/storage_do_2 holds data");
  });

  it("does not skip the other checks", async () => {
    await on(d.host, `umount ${d.host.source}`);
    expect(await refused({ LSYNCD_SKIP_SAFETY: "true" })).toContain("is not mounted");
    await on(d.host, `mount ${d.host.source}`);
  });

  it("deploys, names the skipped checks, and a later run without it changes nothing", async () => {
    const text = succeeded(await d.stack.up(undefined, { LSYNCD_SKIP_SAFETY: "TRUE" }));
    expect(text).toContain("LSYNCD_SKIP_SAFETY=true overrides this: The target /mnt/storage_do_2 holds data");
    await mirrored(d.host);
    expect(await content(d.host, d.host.target)).toBe(await content(d.host, d.host.source));
    expect(succeeded(await d.stack.up([]))).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
  });
});

describe("a waiver left by a run without changes", () => {
  it("does not apply to another deployment", async () => {
    succeeded(await d.stack.up(undefined, { LSYNCD_SKIP_SAFETY: "true" }));
    expect(await on(d.host, "cat /run/lsyncd-as-code/waivers")).toMatch(/^\S+ [0-9a-f]{12}\nLSYNCD_SKIP_SAFETY$/);
    // As on a host that is deployed for the first time
    await on(d.host, "rm /var/lib/lsyncd-as-code/volumes /etc/lsyncd/lsyncd.conf.lua");
    await d.configure({ delay: 3 });
    expect(failed(await d.stack.up())).toContain("The target /mnt/storage_do_2 holds data");
    await d.configure();
  });
});

describe("an empty source", () => {
  it("gives a warning; empty directories and lost+found in the target do not count as data", async () => {
    succeeded(await d.stack.destroy());
    await reset(d.host);
    await on(d.host, `mkdir -p ${d.host.target}/empty/directories`);
    const text = succeeded(await d.stack.up());
    expect(text).toContain("The source /mnt/storage_do_1 is empty");
  });
});

describe("connections", () => {
  let server: Server;
  let connected = 0;

  beforeAll(async () => {
    server = createServer((socket) => {
      connected += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterAll(() => server.close());

  it("are not opened with invalid settings, and all errors are reported at once", async () => {
    const { port } = server.address() as AddressInfo;
    const entry = { ...d.host, address: "127.0.0.1", port };
    await d.stack.configure([entry], { delay: 0, sauce: "/mnt/x" }, { [entry.name]: { target: "relative" } });
    const text = failed(await d.stack.up([], { LSYNCD_SKIP_SAFETY: "yes" }));
    expect(text).toContain("lsyncd:delay: must be a whole number from 1 to 3600");
    expect(text).toContain("lsyncd:sauce: unknown setting");
    expect(text).toContain("lsyncd:hosts[0].target: must be an absolute path");
    expect(text).toContain("LSYNCD_SKIP_SAFETY: must be true or false");
    expect(text).not.toContain("PromiseRejectionHandledWarning");
    expect(connected).toBe(0);
    await d.configure();
  });

  it("are refused to a host with another key", async () => {
    const other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2xYFbD4cWCqsKFJuTDJmCTzmEUW0gGPGCvYIkGBkbc";
    await d.stack.configure([{ ...d.host, hostKey: other }], { delay: 7 });
    // lsyncd runs there and writes its log.
    const places = systemPlaces.filter((place) => place !== "/var/log/lsyncd");
    const before = await listing(d.host, ...places);
    const text = failed(await d.stack.up());
    expect(text).toMatch(/error: sqlite-1 could not be reached, .*: its key SHA256:\S+ does not match the known one/);
    expect(text).not.toContain("infra/");
    expect(await listing(d.host, ...places)).toBe(before);
    await d.configure();
  });

  it("are refused to a host whose key is unknown", async () => {
    await d.stack.configure([{ ...d.host, hostKey: undefined as unknown as string }]);
    const text = failed(await d.stack.up());
    expect(text).toContain(`the key of ${d.host.address} port ${d.host.port} is not known`);
    expect(text).toContain(`npm run hosts:scan -- ${d.host.address}:${d.host.port}`);
    await d.configure();
  });

  it("are not opened twice to one host", async () => {
    await d.stack.configure([d.host, { ...d.host, name: "sqlite-2" }, { ...d.host, address: "192.0.2.1" }]);
    const text = failed(await d.stack.up());
    expect(text).toContain(`${d.host.address} port ${d.host.port} is already used by lsyncd:hosts[0].address`);
    expect(text).toContain("sqlite-1 is already used by lsyncd:hosts[0].name");
    await d.configure();
  });

  it("to a silent server delay no other host, and an update ends", async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as AddressInfo;
    const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2xYFbD4cWCqsKFJuTDJmCTzmEUW0gGPGCvYIkGBkbc";
    try {
      await d.stack.configure([d.host, { ...d.host, name: "silent", address: "127.0.0.1", port, hostKey }], {
        delay: 8,
      });
      const text = failed(await d.stack.up());
      expect(text).toMatch(/silent could not be reached, it was not checked and nothing was changed on it: /);
      expect(text).not.toMatch(/silent-\S+ (creating|deleting)/);
      expect(await on(d.host, "grep -c 'delay *= 8' /etc/lsyncd/lsyncd.conf.lua")).toBe("1");
      // Earlier deployments do not count as removed.
      expect(await d.stack.state()).toContain("sqlite-1-activation");
    } finally {
      for (const socket of sockets) socket.destroy();
      silent.close();
      await d.configure();
    }
  });

  it("that fail in a preview give a warning", async () => {
    const { port } = server.address() as AddressInfo;
    await d.stack.configure([{ ...d.host, address: "127.0.0.1", port }]);
    expect(succeeded(await d.stack.preview())).toContain("could not be reached, its preflight was not run");
    await d.configure();
  });
});
