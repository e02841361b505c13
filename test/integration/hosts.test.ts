import { kill } from "../../tools/sandbox";
import { faultsOf } from "../support/activation";
import { failed, on, prepare, succeeded, type Deployment } from "../support/deployment";
import { fill, identical, mirrors } from "../support/faults";

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

it("a host that is renamed in the stack is not undeployed by its old entry", async () => {
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

it("a host that is gone for good is taken out of the stack by the documented command", async () => {
  const [one, two] = d.hosts;
  if (!one || !two) throw new Error("two hosts were asked for");
  await kill(two);
  const stack = await named([{ ...one, name: "mail-1" }]);
  // Every `up` would try to undeploy it.
  expect(failed(await stack.up())).toContain("sqlite-2-activation");
  const [urn = "none"] = /urn:pulumi:[^"]*::lsyncd:index:Mirror::sqlite-2/.exec(await stack.state()) ?? [];
  succeeded(await stack.pulumi(["state", "delete", urn, "--target-dependents", "--yes"], { allowFailure: true }));
  expect(succeeded(await stack.up([]))).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
  expect(await stack.state()).not.toContain("sqlite-2");
  expect(await faultsOf(one)).toBe("");
});

async function named(hosts: Deployment["hosts"]): Promise<Deployment["stack"]> {
  await d.stack.configure(hosts);
  return d.stack;
}
