import { on, prepare, succeeded, type Deployment } from "../support/deployment";

jest.setTimeout(300_000);

let d: Deployment;

beforeAll(async () => {
  d = await prepare("drift", { volumeSizeMb: 64 });
  await on(d.host, `echo mail > ${d.host.source}/mail`);
  succeeded(await d.stack.up());
});
afterAll(async () => {
  await d.remove();
});

const quiet = (text: string): void => {
  expect(text).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
};
const mainPid = (): Promise<string> => on(d.host, "systemctl show -p MainPID --value lsyncd");

it("is none after a deployment", async () => {
  const text = succeeded(await d.stack.up(["--refresh", "--skip-preview"]));
  console.log(text);
  quiet(text);
  expect(await d.stack.state()).not.toContain("PRIVATE KEY");
});

it("is shown by a preview", async () => {
  await on(
    d.host,
    "chmod 0600 /usr/local/bin/lsyncd-monitor.sh; echo '# by hand' >>/etc/lsyncd/lsyncd.conf.lua; systemctl disable lsyncd-monitor.timer",
  );
  const text = succeeded(await d.stack.preview(["--refresh"]));
  console.log(text);
  const up = succeeded(await d.stack.up(["--refresh", "--skip-preview"]));
  console.log(up);
  console.log(succeeded(await d.stack.up(["--refresh", "--skip-preview"])));
  console.log(await mainPid());
});
