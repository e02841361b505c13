import { readFile, rm } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { run, type Finished } from "../../toolchain/run";
import { aws, type Aws } from "../support/aws";
import { on, prepare, succeeded, type Deployment } from "../support/deployment";
import { installTime } from "../support/programs";

jest.setTimeout(300_000);

let d: Deployment;
let cloud: Aws | undefined;

beforeAll(async () => {
  d = await prepare("backends", { volumeSizeMb: 64 });
  cloud = await aws("state", "pulumi");
}, installTime);
afterAll(async () => {
  cloud?.stop();
  await d.remove();
});

// As docs/operations.md describes a server that is not Amazon's.
const bucket = (): string => `s3://state?endpoint=${cloud?.url ?? ""}&s3ForcePathStyle=true&region=eu-central-1`;
const root = resolve(__dirname, "../..");
const name = (): string => basename(d.stack.configFile).replace(/^Pulumi\.(.*)\.yaml$/, "$1");

/** Runs pulumi as a user does who has logged in to the bucket. */
const pulumi = (args: string[], env: Record<string, string> = {}, input?: string): Promise<Finished> =>
  run(join(root, "node_modules", ".bin", "pulumi"), [...args, "--color", "never"], {
    cwd: root,
    env: { ...d.stack.environment(), ...cloud?.env, PULUMI_BACKEND_URL: bucket(), ...env },
    allowFailure: true,
    ...(input === undefined ? {} : { input }),
  });

it("a state in S3 with secrets encrypted by a passphrase deploys, and a second run changes nothing", async () => {
  const written = join(root, "stacks", `Pulumi.${name()}.yaml`);
  succeeded(await pulumi(["stack", "init", name(), "--no-select", "--non-interactive"]));
  // The file already contains the encryption of the settings.
  await rm(written);
  const at = ["--stack", name(), "--config-file", d.stack.configFile];
  await on(d.host, `echo mail >${d.host.source}/mail`);
  succeeded(await pulumi(["up", "--yes", "--skip-preview", ...at]));
  expect(await on(d.host, "systemctl is-active lsyncd")).toBe("active");
  expect(succeeded(await pulumi(["up", "--yes", "--skip-preview", ...at]))).not.toMatch(
    /\d+ (created|updated|deleted)/,
  );

  // The bucket contains the connection, encrypted.
  const kept = succeeded(await pulumi(["stack", "export", "--stack", name()]));
  expect(kept).toContain("::sqlite-1-activation");
  expect(kept).not.toContain("PRIVATE KEY");
  // Another passphrase decrypts nothing.
  const other = await pulumi(["preview", ...at], { PULUMI_CONFIG_PASSPHRASE: "another" });
  expect(other.code).not.toBe(0);
  expect(`${other.stdout}${other.stderr}`).toContain("incorrect passphrase");
});

it("a cloud key replaces the passphrase", async () => {
  const stack = `kms-${process.pid}`;
  const file = join(root, "stacks", `Pulumi.${stack}.yaml`);
  // From here on, without a passphrase.
  const env = { PULUMI_CONFIG_PASSPHRASE: "" };
  const at = (args: string[], input?: string): Promise<Finished> => pulumi([...args, "--stack", stack], env, input);
  try {
    const key = "awskms://alias/pulumi?region=eu-central-1";
    succeeded(await pulumi(["stack", "init", stack, "--no-select", "--secrets-provider", key], env));
    succeeded(await at(["config", "set", "--secret", "password"], "hunter2"));
    const written = await readFile(file, "utf8");
    expect(written).toContain(`secretsprovider: ${key}`);
    expect(written).not.toContain("hunter2");
    expect((await at(["config", "get", "password"])).stdout.trim()).toBe("hunter2");
  } finally {
    await rm(file, { force: true });
  }
});
