import { kill } from "../../tools/sandbox";
import { faultsOf } from "../support/activation";
import { Cutter } from "../support/cutter";
import { failed, on, prepare, succeeded, type Deployment } from "../support/deployment";
import { files, fill, identical, mirrors, missingFrom, row } from "../support/faults";

jest.setTimeout(400_000);

let d: Deployment;

beforeAll(async () => {
  d = await prepare("hosts", { hosts: 2 });
  await Promise.all(d.hosts.map((host) => fill(host, 20)));
  succeeded(await d.stack.up());
});
afterAll(async () => {
  await d.remove();
});

it("removing the old entry of a host renamed in the stack does not undeploy the host", async () => {
  const [one, two] = d.hosts;
  if (!one || !two) throw new Error("two hosts were asked for");
  const pid = await on(one, "pgrep -x lsyncd");
  const text = succeeded(await (await named([{ ...one, name: "mail-1" }, two])).up());
  expect(text).toContain("mail-1-activation created");
  expect(text).toContain("sqlite-1-activation deleted");
  expect(await faultsOf(one)).toBe("");
  expect(await on(one, "pgrep -x lsyncd")).toBe(pid);
  expect(await on(one, "cat /var/lib/lsyncd-as-code/id")).toMatch(/^organization\/lsyncd\/.*\/mail-1$/);
  expect(await on(one, "dpkg-query -W -f '${db:Status-Status}' lsyncd")).toBe("installed");
  await mirrors(one);
  await identical(one);
});

it("a host that no longer exists is removed from the stack by the documented command", async () => {
  const [one, two] = d.hosts;
  if (!one || !two) throw new Error("two hosts were asked for");
  await kill(two);
  const stack = await named([{ ...one, name: "mail-1" }]);
  // Otherwise every `up` would try to undeploy it.
  expect(failed(await stack.up())).toContain("sqlite-2-activation");
  const [urn = "none"] = /urn:pulumi:[^"]*::lsyncd:index:Mirror::sqlite-2/.exec(await stack.state()) ?? [];
  succeeded(await stack.pulumi(["state", "delete", urn, "--target-dependents", "--yes"], { allowFailure: true }));
  expect(succeeded(await stack.up([]))).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
  expect(await stack.state()).not.toContain("sqlite-2");
  expect(await faultsOf(one)).toBe("");
});

it("a machine with two entries is deployed as one of them, and the other is refused", async () => {
  const [one] = d.hosts;
  if (!one) throw new Error("a host was asked for");
  // Its key does not identify it: it differs from that of the first entry.
  await on(
    one,
    `ssh-keygen -q -t ecdsa -N "" -f /etc/ssh/ssh_host_ecdsa_key &&
     echo HostKey /etc/ssh/ssh_host_ecdsa_key >/etc/ssh/sshd_config.d/30-second-key.conf && systemctl restart ssh`,
  );
  const [type, key] = (await on(one, "cat /etc/ssh/ssh_host_ecdsa_key.pub")).split(" ");
  const cutter = await Cutter.before(one);
  try {
    const alias = { ...cutter.through, name: "alias", hostKey: `${type} ${key}` };
    const entries = [{ ...one, name: "mail-1" }, alias];
    await d.stack.configure(entries, {}, { alias: { delay: 9 } });
    const refusal = "This machine is already deployed as mail-1, reached at";
    expect(failed(await d.stack.preview())).toContain(refusal);
    expect(failed(await d.stack.up())).toContain(refusal);
    expect(await on(one, "grep delay /etc/lsyncd/lsyncd.conf.lua")).toContain("= 1,");
    expect(await faultsOf(one)).toBe("");
    // Both for the first time, at the same time.
    await d.stack.configure([{ ...one, name: "mail-1" }]);
    succeeded(await d.stack.destroy());
    await d.stack.configure(entries, {}, { alias: { delay: 9 } });
    const both = failed(await d.stack.up());
    const won = await on(one, "cat /var/lib/lsyncd-as-code/id");
    expect(both).toContain(`This machine is already deployed as ${won.split("/").at(-1)}, reached at`);
    expect(await on(one, "grep delay /etc/lsyncd/lsyncd.conf.lua")).toContain(won.endsWith("/alias") ? "= 9," : "= 1,");
    expect(await faultsOf(one)).toBe("");
    // Removing the refused entry does not change the machine.
    await d.stack.configure(
      entries.filter(({ name }) => won.endsWith(`/${name}`)),
      {},
      { alias: { delay: 9 } },
    );
    succeeded(await d.stack.up());
    expect(await faultsOf(one)).toBe("");
    await mirrors(one);
    await identical(one);
    await row({
      injected: "Two entries of a stack that lead to one machine, by different addresses and host keys",
      happened: "one in force, the other refused; removing the refused one did not touch the machine",
      lost: missingFrom(await files(one, one.target), await files(one, one.source)),
    });
  } finally {
    cutter.close();
  }
});

async function named(hosts: Deployment["hosts"]): Promise<Deployment["stack"]> {
  await d.stack.configure(hosts);
  return d.stack;
}
